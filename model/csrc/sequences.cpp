// Sequences of various lengths one after another: their rows out of a padded batch and back, and attention within each.
#include <ATen/ATen.h>
#include <ATen/ops/_efficient_attention_forward.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <torch/csrc/autograd/custom_function.h>

#include "guarded.h"

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

namespace {
Tensor taken(const Tensor& all, const Tensor& places) { return all.index_select(0, places); }

Tensor placed(const Tensor& some, const Tensor& places, int64_t rows) {
  return at::zeros({rows, some.size(1)}, some.options()).index_copy_(0, places, some);
}

// No place comes twice, so that each is the other's backward pass.
struct TakeRows : Function<TakeRows> {
  static Tensor forward(AutogradContext* context, const Tensor& all, const Tensor& places) {
    context->saved_data["places"] = places;
    context->saved_data["rows"] = all.size(0);
    return taken(all, places);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    return {placed(gradients[0], context->saved_data["places"].toTensor(), context->saved_data["rows"].toInt()), {}};
  }
};

struct PlaceRows : Function<PlaceRows> {
  static Tensor forward(AutogradContext* context, const Tensor& some, const Tensor& places, int64_t rows) {
    context->saved_data["places"] = places;
    return placed(some, places, rows);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    return {taken(gradients[0], context->saved_data["places"].toTensor()), {}, {}};
  }
};
}  // namespace

extern "C" {
// all: [rows, size]; some: its rows at `places`, none of which comes twice.
int flava_take_rows(const Tensor* all, const Tensor* places, Tensor** some) {
  return guarded([&] { *some = new Tensor(TakeRows::apply(*all, *places)); });
}

// all: [rows, size], of zeros but for `some` at `places`, none of which comes twice.
int flava_place_rows(const Tensor* some, const Tensor* places, int64_t rows, Tensor** all) {
  return guarded([&] { *all = new Tensor(PlaceRows::apply(*some, *places, rows)); });
}

// q, k, v: [tokens, heads, head_dim] on a GPU, of sequences that begin at `starts` [sequences + 1] (int32), the longest of `longest` tokens.
// out: [tokens, heads, head_dim].
int flava_attention_within(const Tensor* q, const Tensor* k, const Tensor* v, const Tensor* starts, int64_t longest, double dropout, Tensor** out) {
  return guarded([&] {
    if (q->scalar_type() != at::kFloat) {
      *out = new Tensor(std::get<0>(at::_flash_attention_forward(*q, *k, *v, *starts, *starts, longest, longest, dropout, /*is_causal=*/false,
                                                                 /*return_debug_mask=*/false)));
      return;
    }
    const auto found = at::_efficient_attention_forward(q->unsqueeze(0), k->unsqueeze(0), v->unsqueeze(0), {}, *starts, *starts, longest, longest, dropout,
                                                        /*custom_mask_type=*/0, /*compute_log_sumexp=*/at::GradMode::is_enabled());
    *out = new Tensor(std::get<0>(found).squeeze(0));
  });
}
}
