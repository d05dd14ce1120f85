// What tch does not bind: oneDNN's linear layer over a weight that was reordered once for the processor, reached by name
// through libtorch's dispatcher as its own compiler reaches it, and attention over oneDNN's small matrix products.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/GradMode.h>

#include <ATen/ops/empty.h>
#include <ATen/ops/softmax.h>

#include <cmath>
#include <optional>
#include <string>
#include <vector>

// Exported by libtorch, but in none of its installed headers. c (m, n) = a (m, k) b (k, n), rows apart by ld*.
namespace at::native::cpublas {
void brgemm(int64_t m, int64_t n, int64_t k, int64_t lda, int64_t ldb, int64_t ldc, bool add, const float* a, const float* b, float* c, bool is_vnni);
}

using at::Tensor;

namespace {
thread_local std::string last_error;

template <typename Body>
int guarded(Body body) {
  try {
    body();
    return 0;
  } catch (const c10::Error& e) {
    last_error = e.what_without_backtrace();
  } catch (const std::exception& e) {
    last_error = e.what();
  }
  return 1;
}

template <typename Signature>
auto op(const char* name, const char* overload) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, overload).template typed<Signature>();
}

std::optional<Tensor> optional(const Tensor* t) {
  return t ? std::optional<Tensor>(*t) : std::nullopt;
}
}  // namespace

extern "C" {
const char* flava_last_error() { return last_error.c_str(); }

// weight: [out, in], dense. out: the same in oneDNN's blocked layout, chosen for `rows` input rows.
int flava_pack_linear(const Tensor* weight, int64_t rows, Tensor** out) {
  return guarded([&] {
    at::NoGradGuard guard;
    static auto reorder = op<Tensor(const Tensor&, std::optional<c10::SymInt>)>("mkldnn::_reorder_linear_weight", "");
    *out = new Tensor(reorder.call(*weight, c10::SymInt(rows)));
  });
}

// activation: "none" or "gelu" (exact). out: activation(x weight^T + bias).
int flava_packed_linear(const Tensor* x, const Tensor* weight, const Tensor* bias, const char* activation, Tensor** out) {
  return guarded([&] {
    at::NoGradGuard guard;
    using Signature = Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&, c10::string_view,
                             c10::List<std::optional<at::Scalar>>, std::optional<c10::string_view>);
    static auto linear = op<Signature>("mkldnn::_linear_pointwise", "");
    *out = new Tensor(linear.call(*x, *weight, optional(bias), activation, c10::List<std::optional<at::Scalar>>(), "none"));
  });
}

// out: x weight^T + bias + other.
int flava_packed_linear_add(const Tensor* x, const Tensor* other, const Tensor* weight, const Tensor* bias, Tensor** out) {
  return guarded([&] {
    at::NoGradGuard guard;
    using Signature = Tensor(const Tensor&, const Tensor&, const Tensor&, const std::optional<Tensor>&, c10::string_view);
    static auto linear = op<Signature>("mkldnn::_linear_pointwise", "binary");
    *out = new Tensor(linear.call(*x, *other, *weight, optional(bias), "add"));
  });
}

// qkv: [batch, seq, 3, heads, head_dim], contiguous f32. mask: additive, [batch, 1, 1, seq], or null.
// out: [batch, seq, heads * head_dim]. One head's scores stay in the core's cache.
int flava_attention(const Tensor* qkv, const Tensor* mask, Tensor** out) {
  return guarded([&] {
    at::NoGradGuard guard;
    const int64_t batch = qkv->size(0), seq = qkv->size(1), heads = qkv->size(3), dim = qkv->size(4);
    const int64_t size = heads * dim, row = 3 * size;
    const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
    const float* input = qkv->const_data_ptr<float>();
    const float* dropped = mask ? mask->const_data_ptr<float>() : nullptr;
    Tensor result = at::empty({batch, seq, size}, qkv->options());
    float* output = result.mutable_data_ptr<float>();
    at::parallel_for(0, batch * heads, 1, [&](int64_t begin, int64_t end) {
      at::NoGradGuard thread_guard;
      Tensor scores = at::empty({seq, seq}, qkv->options());
      float* s = scores.mutable_data_ptr<float>();
      std::vector<float> keys(dim * seq);  // transposed and scaled
      for (int64_t i = begin; i < end; ++i) {
        const int64_t b = i / heads, h = i % heads;
        const float* q = input + b * seq * row + h * dim;
        const float *k = q + size, *v = q + 2 * size;
        for (int64_t j = 0; j < seq; ++j)
          for (int64_t c = 0; c < dim; ++c) keys[c * seq + j] = k[j * row + c] * scale;
        at::native::cpublas::brgemm(seq, seq, dim, row, seq, seq, false, q, keys.data(), s, false);
        if (dropped)
          for (int64_t j = 0; j < seq * seq; ++j) s[j] += dropped[b * seq + j % seq];
        at::softmax_out(scores, scores, -1);
        at::native::cpublas::brgemm(seq, dim, seq, seq, row, size, false, s, v, output + b * seq * size + h * dim, false);
      }
    });
    *out = new Tensor(std::move(result));
  });
}
}
