// What tch does not bind: oneDNN's linear layer over a weight that was reordered once for the processor.
// The operators are reached by name through libtorch's dispatcher, as its own compiler reaches them.
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/GradMode.h>

#include <optional>
#include <string>

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
}
