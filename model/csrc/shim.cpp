// What tch does not bind: oneDNN's linear layer, reached by name through libtorch's dispatcher as its own compiler reaches it,
// differentiable, or over a weight that was reordered once for the processor; and, for training, autocast, the fused AdamW, the norm of
// many gradients, and nodes of the graph whose backward pass is Rust.
#include <ATen/autocast_mode.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/AutogradState.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/GradMode.h>

#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/stack.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/version.h>

#include <optional>
#include <string>
#include <vector>

#include "guarded.h"

using at::Tensor;

namespace {
template <typename Signature>
auto op(const char* name, const char* overload) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, overload).template typed<Signature>();
}

std::optional<Tensor> optional(const Tensor* t) {
  return t ? std::optional<Tensor>(*t) : std::nullopt;
}

std::vector<Tensor> list(Tensor* const* tensors, size_t count) {
  std::vector<Tensor> all;
  all.reserve(count);
  for (size_t i = 0; i < count; ++i) all.push_back(*tensors[i]);
  return all;
}

// gradients of the outputs in, gradients of the inputs out (null: none); 0 on success, else what went wrong is in `message`.
using Backward = int (*)(void* data, Tensor* const* gradients, size_t outputs, Tensor** results, size_t inputs, char* message, size_t room);
using Drop = void (*)(void* data);
using Call = void (*)(void* data);

// A node of the graph whose backward pass is a closure of Rust; the closure is dropped with the graph.
struct ClosureNode : torch::autograd::Node {
  void* data;
  Backward backward;
  Drop drop;
  size_t inputs;

  ClosureNode(void* data, Backward backward, Drop drop, size_t inputs) : data(data), backward(backward), drop(drop), inputs(inputs) {}
  ~ClosureNode() override { release_variables(); }
  std::string name() const override { return "ClosureBackward"; }
  void release_variables() override {
    if (data) drop(data);
    data = nullptr;
  }
  torch::autograd::variable_list apply(torch::autograd::variable_list&& gradients) override {
    TORCH_CHECK(data, "the graph was freed: a second backward pass is not possible");
    std::vector<Tensor*> in;
    for (Tensor& gradient : gradients) in.push_back(gradient.defined() ? &gradient : nullptr);
    std::vector<Tensor*> results(inputs, nullptr);
    char message[512] = "";
    const int code = backward(data, in.data(), in.size(), results.data(), inputs, message, sizeof(message));
    TORCH_CHECK(code == 0, "the backward pass of a layer failed: ", static_cast<const char*>(message));
    torch::autograd::variable_list out(inputs);
    for (size_t i = 0; i < inputs; ++i) {
      if (!results[i]) continue;
      out[i] = std::move(*results[i]);
      delete results[i];
    }
    return out;
  }
};

// What Rust does whenever a gradient was added to a parameter.
struct GradientHook : torch::autograd::PostAccumulateGradHook {
  void* data;
  Call call;
  Drop drop;

  GradientHook(void* data, Call call, Drop drop) : data(data), call(call), drop(drop) {}
  ~GradientHook() override { drop(data); }
  void operator()(const Tensor&) override { call(data); }
};

using Pointwise = Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&, c10::string_view,
                         c10::List<std::optional<at::Scalar>>, std::optional<c10::string_view>);

// activation(x weight^T + bias) by oneDNN: "none" or "gelu" (exact). The weight is dense, of any strides, or reordered.
Tensor pointwise(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias, const char* activation) {
  static auto linear = op<Pointwise>("mkldnn::_linear_pointwise", "");
  return linear.call(x, weight, bias, activation, c10::List<std::optional<at::Scalar>>(), "none");
}

// A linear layer of which all three products are oneDNN's.
struct LinearFunction : torch::autograd::Function<LinearFunction> {
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias) {
    context->save_for_backward({x, weight});
    context->saved_data["bias"] = bias.has_value();
    return pointwise(x, weight, bias, "none");
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context, torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const Tensor &x = saved[0], &weight = saved[1];
    // Rows that lie apart, as those of [CLS] do, would go to oneDNN's reference code. [rows, out] and [rows, in].
    const Tensor gradient = gradients[0].reshape({-1, weight.size(0)}).contiguous(), rows = x.reshape({-1, weight.size(1)}).contiguous();
    Tensor by_x, by_weight, by_bias;
    if (context->needs_input_grad(0)) by_x = pointwise(gradient, weight.t(), {}, "none").view(x.sizes());
    if (context->needs_input_grad(1)) by_weight = pointwise(gradient.t(), rows.t(), {}, "none");
    if (context->saved_data["bias"].toBool() && context->needs_input_grad(2)) by_bias = gradient.sum(0);
    return {by_x, by_weight, by_bias};
  }
};

at::Generator generator(int device) {
  return at::globalContext().defaultGenerator(device < 0 ? at::Device(at::kCPU) : at::Device(at::kCUDA, device));
}
}  // namespace

extern "C" {
const char* flava_last_error() { return last_error.c_str(); }

// The libtorch that this was compiled against, such as 2.11.0.
const char* flava_torch_version() { return TORCH_VERSION; }

// The CUDA runtime's version as it numbers them (12080 is 12.8), 0 where there is none.
int64_t flava_cuda_version() {
  try {
    return at::globalContext().hasCUDA() ? at::detail::getCUDAHooks().versionCUDART() : 0;
  } catch (const std::exception&) {
    return 0;
  }
}

// Products and convolutions of f32 on a GPU are of f32 from here on: cuDNN's default rounds what it multiplies to 10 bits.
void flava_exact_f32() {
  at::globalContext().setAllowTF32CuBLAS(false);
  at::globalContext().setAllowTF32CuDNN(false);
}

// The most bytes that tensors took of a GPU so far.
int flava_peak_device_memory(int device, int64_t* bytes) {
  return guarded([&] {
    const auto stats = at::getDeviceAllocator(at::kCUDA)->getDeviceStats(static_cast<c10::DeviceIndex>(device));
    *bytes = stats.allocated_bytes[static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE)].peak;
  });
}

// The memory of a GPU, whoever uses it.
int flava_device_memory(int device, int64_t* bytes) {
  return guarded([&] {
    const auto [free, all] = at::getDeviceAllocator(at::kCUDA)->getMemoryInfo(static_cast<c10::DeviceIndex>(device));
    *bytes = static_cast<int64_t>(all);
  });
}

// Room for so many f32 that a GPU can read by itself.
int flava_pinned(int64_t numbers, Tensor** out) {
  return guarded([&] { *out = new Tensor(at::empty({numbers}, at::TensorOptions().dtype(at::kFloat).pinned_memory(true))); });
}

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
    *out = new Tensor(pointwise(*x, *weight, optional(bias), activation));
  });
}

// ys: x weight^T + bias on the CPU, differentiable.
int flava_linear(const Tensor* x, const Tensor* weight, const Tensor* bias, Tensor** ys) {
  return guarded([&] {
    // For a few rows or columns oneDNN falls back to its reference code, and a few rows are rounded otherwise than many, by either
    // way: they are made enough.
    const int64_t out = weight->size(0), in = weight->size(1), few = 16, rows = x->numel() / std::max<int64_t>(in, 1);
    const bool f32 = x->scalar_type() == at::kFloat && weight->scalar_type() == at::kFloat;
    const bool plain = !f32 || in < few || out < few || at::autocast::is_autocast_enabled(at::kCPU);
    const auto product = [&](const Tensor& x) {
      return plain ? at::linear(x, *weight, optional(bias)) : LinearFunction::apply(x, *weight, optional(bias));
    };
    if (rows == 0 || rows >= few) {
      *ys = new Tensor(rows ? product(*x) : at::linear(*x, *weight, optional(bias)));
      return;
    }
    auto sizes = x->sizes().vec();
    sizes.back() = out;
    *ys = new Tensor(product(at::constant_pad_nd(x->reshape({rows, in}), {0, 0, 0, few - rows})).narrow(0, 0, rows).reshape(sizes));
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

// Autocast of a kind of device to a floating-point kind (c10::ScalarType); the state before goes into the last two.
int flava_autocast(int cuda, int enabled, int dtype, int* was_enabled, int* was_dtype) {
  return guarded([&] {
    const auto device = cuda ? at::kCUDA : at::kCPU;
    *was_enabled = at::autocast::is_autocast_enabled(device);
    *was_dtype = static_cast<int>(at::autocast::get_autocast_dtype(device));
    at::autocast::set_autocast_enabled(device, enabled);
    at::autocast::set_autocast_dtype(device, static_cast<at::ScalarType>(dtype));
    if (enabled) {
      at::autocast::increment_nesting();
    } else if (at::autocast::decrement_nesting() == 0) {
      at::autocast::clear_cache();
    }
  });
}

// Whether autocast is on, and its kind.
int flava_autocast_state(int cuda, int* enabled, int* dtype) {
  return guarded([&] {
    const auto device = cuda ? at::kCUDA : at::kCPU;
    *enabled = at::autocast::is_autocast_enabled(device);
    *dtype = static_cast<int>(at::autocast::get_autocast_dtype(device));
  });
}

// One step of AdamW over `count` parameters with gradients, moments and step counts.
int flava_adamw(Tensor* const* parameters, Tensor* const* gradients, Tensor* const* means, Tensor* const* squares, Tensor* const* steps, size_t count,
                double rate, double beta1, double beta2, double decay, double eps) {
  return guarded([&] {
    at::NoGradGuard guard;
    auto counts = list(steps, count);
    at::_foreach_add_(counts, 1.0);
    auto weights = list(parameters, count), m = list(means, count), v = list(squares, count);
    at::_fused_adamw_(weights, list(gradients, count), m, v, {}, counts, rate, beta1, beta2, decay, eps, /*amsgrad=*/false, /*maximize=*/false);
  });
}

// Takes the gradients of all tensors away.
int flava_forget_gradients(Tensor* const* tensors, size_t count) {
  return guarded([&] {
    for (size_t i = 0; i < count; ++i) tensors[i]->mutable_grad() = Tensor();
  });
}

// Gives a tensor a gradient of its own size, or takes it away.
int flava_set_gradient(const Tensor* tensor, const Tensor* gradient) {
  return guarded([&] { tensor->mutable_grad() = gradient ? *gradient : Tensor(); });
}

// The norm of all tensors together.
int flava_norm(Tensor* const* tensors, size_t count, double* out) {
  return guarded([&] {
    at::NoGradGuard guard;
    *out = at::stack(at::_foreach_norm(list(tensors, count))).to(at::kDouble).norm().item<double>();
  });
}

int flava_scale(Tensor* const* tensors, size_t count, double factor) {
  return guarded([&] {
    at::NoGradGuard guard;
    auto all = list(tensors, count);
    at::_foreach_mul_(all, factor);
  });
}

// State of the random numbers of a device: -1 for the CPU, else the GPU's index.
int flava_random_state(int device, Tensor** out) {
  return guarded([&] {
    auto random = generator(device);
    std::lock_guard<std::mutex> lock(random.mutex());
    *out = new Tensor(random.get_state());
  });
}

int flava_set_random_state(int device, const Tensor* state) {
  return guarded([&] {
    auto random = generator(device);
    std::lock_guard<std::mutex> lock(random.mutex());
    random.set_state(*state);
  });
}

// The backward pass from one output with its gradient.
int flava_backward(const Tensor* output, const Tensor* gradient) {
  return guarded([&] { torch::autograd::backward({*output}, {*gradient}); });
}

// Has `call` be called whenever a backward pass has added to the gradient of a parameter, until `drop` is.
int flava_on_gradient(const Tensor* parameter, void* data, Call call, Drop drop) {
  return guarded([&] {
    torch::autograd::impl::set_post_acc_grad_hooks(*parameter, std::make_unique<GradientHook>(data, call, drop));
  });
}

// Backward passes that this thread begins run in it alone, on whatever device: what they call is not to be shared by threads.
void flava_backward_in_this_thread() { c10::AutogradState::get_tls_state().set_multithreading_enabled(false); }

// Exchanges the memory of two tensors' storages, whose sizes and views stay as they are: one of them may have none.
int flava_exchange_memory(const Tensor* one, const Tensor* other) {
  return guarded([&] {
    auto *a = one->storage().unsafeGetStorageImpl(), *b = other->storage().unsafeGetStorageImpl();
    TORCH_CHECK(a->device() == b->device(), "memory of ", a->device(), " and of ", b->device());
    const auto bytes = a->nbytes();
    at::DataPtr memory = a->set_data_ptr(at::DataPtr(nullptr, a->device()));
    a->set_data_ptr_noswap(b->set_data_ptr(std::move(memory)));
    a->set_nbytes(b->nbytes());
    b->set_nbytes(bytes);
  });
}

// Makes `output`, computed without a graph, the output of a node over `input`.
int flava_attach(const Tensor* input, Tensor* output, void* data, Backward backward, Drop drop) {
  return guarded([&] {
    auto node = std::shared_ptr<ClosureNode>(new ClosureNode(data, backward, drop, 1), torch::autograd::deleteNode);
    node->set_next_edges(torch::autograd::collect_next_edges(*input));
    torch::autograd::set_history(*output, node);
  });
}
}
