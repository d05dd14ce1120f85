// Products of half kinds with weights of f32. The halves of all weights are made by one operation at the beginning of a pass, and the
// gradients of weights leave their product in f32: no kernel is launched for a weight's cast.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <vector>

#include "guarded.h"

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {
using Implementation = c10::intrusive_ptr<c10::TensorImpl>;
using Weak = c10::weak_intrusive_ptr<c10::TensorImpl>;

// The halves of this thread's pass, and the weights that earlier ones have asked for.
class Halves {
 public:
  void begin(at::ScalarType kind) {
    now.clear();
    is_on = true;
    std::vector<Tensor> weights, halves;
    for (auto weight = asked.begin(); weight != asked.end();) {
      const Implementation found = weight->second.lock();
      if (!found) {
        weight = asked.erase(weight);
        continue;
      }
      ++weight;
      const Tensor tensor = Tensor(found).detach();
      if (tensor.storage().nbytes() == 0) continue;  // it is lent, and not now
      weights.push_back(tensor);
      halves.push_back(at::empty_like(tensor, tensor.options().dtype(kind)));
      now.emplace(found.get(), halves.back());
    }
    if (!weights.empty()) at::_foreach_copy_(halves, weights);
  }

  void end() {
    now.clear();
    is_on = false;
  }

  Tensor of(const Tensor& weight, at::ScalarType kind) {
    if (weight.scalar_type() == kind) return weight.detach();  // lent as a half
    const auto key = weight.unsafeGetTensorImpl();
    if (const auto found = now.find(key); found != now.end() && found->second.scalar_type() == kind) return found->second;
    Tensor half = weight.detach().to(kind);
    if (is_on && weight.is_leaf() && !weight.is_view()) {
      now[key] = half;
      asked.insert_or_assign(key, Weak(weight.getIntrusivePtr()));
    }
    return half;
  }

 private:
  bool is_on = false;
  std::unordered_map<c10::TensorImpl*, Tensor> now;
  std::unordered_map<c10::TensorImpl*, Weak> asked;
};

thread_local Halves halves;

// a b in f32, from halves.
Tensor in_f32(const Tensor& a, const Tensor& b) {
  const bool can = a.is_cuda() && a.numel() > 0;
  return can ? at::mm(a, b, at::kFloat) : at::mm(a, b).to(at::kFloat);
}

Tensor beside(const std::vector<Tensor>& all) { return all.size() == 1 ? all[0] : at::cat(all); }

// One product with up to three weights, of the same input, below each other.
struct HalfLinear : torch::autograd::Function<HalfLinear> {
  using Maybe = std::optional<Tensor>;

  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& first, const Maybe& second, const Maybe& third, const Maybe& bias,
                        const Maybe& second_bias, const Maybe& third_bias) {
    const auto kind = x.scalar_type();
    std::vector<Tensor> weights, biases;
    std::vector<int64_t> sizes;
    bool is_trained = false;
    for (const Maybe& weight : {Maybe(first), second, third}) {
      if (!weight) continue;
      weights.push_back(halves.of(*weight, kind));
      sizes.push_back(weight->size(0));
      is_trained |= weight->requires_grad();
    }
    for (const Maybe& each : {bias, second_bias, third_bias})
      if (each) biases.push_back(halves.of(*each, kind));
    const Tensor weight = beside(weights);
    context->save_for_backward({x});
    context->saved_data["weight"] = weight;
    context->saved_data["sizes"] = sizes;
    context->saved_data["trained"] = is_trained;
    context->saved_data["biased"] = !biases.empty();
    return at::linear(x, weight, biases.empty() ? std::nullopt : Maybe(beside(biases)));
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const Tensor x = context->get_saved_variables()[0], weight = context->saved_data["weight"].toTensor();
    const auto sizes = context->saved_data["sizes"].toIntVector();
    const Tensor gradient = gradients[0].reshape({-1, weight.size(0)});  // [rows, out]
    variable_list all(7);
    if (context->needs_input_grad(0)) all[0] = at::mm(gradient, weight).view(x.sizes());
    if (!context->saved_data["trained"].toBool()) return all;
    const auto by_weight = in_f32(gradient.t(), x.reshape({-1, weight.size(1)})).split_with_sizes(sizes);
    std::copy(by_weight.begin(), by_weight.end(), all.begin() + 1);
    if (context->saved_data["biased"].toBool()) {
      const auto by_bias = gradient.sum({0}, false, at::kFloat).split_with_sizes(sizes);
      std::copy(by_bias.begin(), by_bias.end(), all.begin() + 4);
    }
    return all;
  }
};
}  // namespace

extern "C" {
// A forward pass of a half kind (c10::ScalarType) begins, and ends.
int flava_begin_halves(int kind) {
  return guarded([&] { halves.begin(static_cast<at::ScalarType>(kind)); });
}

void flava_end_halves() { halves.end(); }

// y: x weight^T + bias of the half kind, differentiable; one product with `count` weights, one to three, of f32, below each other. biases: as
// many, or null.
int flava_half_linear(const Tensor* x, Tensor* const* weights, Tensor* const* biases, size_t count, int kind, Tensor** y) {
  return guarded([&] {
    TORCH_CHECK(count >= 1 && count <= 3, count, " weights");
    const auto at = [&](Tensor* const* list, size_t i) { return list && i < count ? std::optional<Tensor>(*list[i]) : std::nullopt; };
    const Tensor half = x->to(static_cast<at::ScalarType>(kind));
    *y = new Tensor(HalfLinear::apply(half, *weights[0], at(weights, 1), at(weights, 2), at(biases, 0), at(biases, 1), at(biases, 2)));
  });
}
}
