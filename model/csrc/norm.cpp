// A residual sum and its layer norm as one kernel of a GPU (norm.cu), which is compiled when it is first asked for.
#include <ATen/ATen.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/csrc/autograd/custom_function.h>

#include <dlfcn.h>

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "guarded.h"

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {
// What of CUDA's driver and of its compiler is used, both of which libtorch has loaded or brings along. Its headers are not needed.
struct Cuda {
  using Handle = void*;
  int (*create_program)(Handle*, const char* source, const char* name, int, const char* const*, const char* const*);
  int (*compile_program)(Handle, int, const char* const* options);
  int (*get_log_size)(Handle, size_t*);
  int (*get_log)(Handle, char*);
  int (*get_size)(Handle, size_t*);
  int (*get_code)(Handle, char*);
  int (*destroy_program)(Handle*);
  int (*get_attribute)(int*, int attribute, int device);
  int (*load_module)(Handle*, const void* image);
  int (*get_function)(Handle*, Handle module, const char* name);
  int (*launch)(Handle, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Handle stream, void** args, void** extra);

  static const Cuda& get() {
    static const Cuda cuda;
    return cuda;
  }

 private:
  Cuda() {
    void* library = dlopen("libcaffe2_nvrtc.so", RTLD_NOW);
    TORCH_CHECK(library, "libtorch's compiler for GPUs is not there: ", dlerror());
    const auto find = [&](auto& function, const char* name) {
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
      TORCH_CHECK(function, "libtorch's compiler for GPUs has no ", name);
    };
    find(create_program, "nvrtcCreateProgram");
    find(compile_program, "nvrtcCompileProgram");
    find(get_log_size, "nvrtcGetProgramLogSize");
    find(get_log, "nvrtcGetProgramLog");
    find(get_size, "nvrtcGetCUBINSize");
    find(get_code, "nvrtcGetCUBIN");
    find(destroy_program, "nvrtcDestroyProgram");
    find(get_attribute, "cuDeviceGetAttribute");
    find(load_module, "cuModuleLoadData");
    find(get_function, "cuModuleGetFunction");
    find(launch, "cuLaunchKernel");
  }
};

void succeeded(int code, const char* what) { TORCH_CHECK(code == 0, what, " failed with ", code); }

int attribute(int device, int which) {
  int value = 0;
  succeeded(Cuda::get().get_attribute(&value, which, device), "cuDeviceGetAttribute");
  return value;
}
// CUdevice_attribute's numbers.
constexpr int processors = 16, major = 75, minor = 76;
constexpr int warps = 8;

struct Kernels {
  void *forward, *backward;
  int processors;
};

std::string name_of(at::ScalarType kind) { return kind == at::kFloat ? "F32" : kind == at::kHalf ? "F16" : "BF16"; }

// source: of norm.cu. The kernels for the device that is current and these kinds of number.
const Kernels& kernels(const char* source, int device, int64_t width, at::ScalarType stream, at::ScalarType half, at::ScalarType param) {
  static std::mutex mutex;
  static std::map<std::tuple<int, int64_t, at::ScalarType, at::ScalarType, at::ScalarType>, Kernels> known;
  std::lock_guard<std::mutex> lock(mutex);
  const auto key = std::make_tuple(device, width, stream, half, param);
  if (const auto found = known.find(key); found != known.end()) return found->second;
  const Cuda& cuda = Cuda::get();
  const std::vector<std::string> options{
      "--std=c++17",
      "--gpu-architecture=sm_" + std::to_string(attribute(device, major)) + std::to_string(attribute(device, minor)),
      "-DWIDTH=" + std::to_string(width),
      "-DSTREAM=" + name_of(stream),
      "-DHALF=" + name_of(half),
      "-DPARAM=" + name_of(param),
  };
  std::vector<const char*> raw;
  for (const auto& option : options) raw.push_back(option.c_str());
  void *program = nullptr, *module = nullptr;
  succeeded(cuda.create_program(&program, source, "norm.cu", 0, nullptr, nullptr), "nvrtcCreateProgram");
  if (cuda.compile_program(program, static_cast<int>(raw.size()), raw.data())) {
    size_t size = 0;
    cuda.get_log_size(program, &size);
    std::string log(size, ' ');
    cuda.get_log(program, log.data());
    cuda.destroy_program(&program);
    TORCH_CHECK(false, "norm.cu does not compile for this GPU: ", log);
  }
  size_t size = 0;
  succeeded(cuda.get_size(program, &size), "nvrtcGetCUBINSize");
  std::string code(size, ' ');
  succeeded(cuda.get_code(program, code.data()), "nvrtcGetCUBIN");
  cuda.destroy_program(&program);
  succeeded(cuda.load_module(&module, code.data()), "cuModuleLoadData");
  Kernels found{nullptr, nullptr, attribute(device, processors)};
  succeeded(cuda.get_function(&found.forward, module, "norm_forward"), "cuModuleGetFunction");
  succeeded(cuda.get_function(&found.backward, module, "norm_backward"), "cuModuleGetFunction");
  return known.emplace(key, found).first->second;
}

void launch(void* function, unsigned blocks, const Tensor& on, std::vector<void*> args) {
  void* stream = c10::impl::VirtualGuardImpl(at::kCUDA).getStream(on.device()).native_handle();
  succeeded(Cuda::get().launch(function, blocks, 1, 1, 32 * warps, 1, 1, 0, stream, args.data(), nullptr), "cuLaunchKernel");
}

void* data(const Tensor& tensor) { return tensor.defined() ? tensor.data_ptr() : nullptr; }

struct Normed {
  Tensor sum, y, mean, inverse;
};

const Kernels& kernels(const char* source, const Tensor& x, at::ScalarType half, const Tensor& gain) {
  return kernels(source, x.device().index(), x.size(-1), x.scalar_type(), half, gain.scalar_type());
}

// branch: undefined for none. Statistics are kept where `keeps`.
Normed forward(const char* source, const Tensor& x, const Tensor& branch, const Tensor& gain, const Tensor& bias, double eps, at::ScalarType half, bool keeps) {
  int64_t rows = x.numel() / x.size(-1);
  Normed all{branch.defined() ? at::empty_like(x) : x, at::empty(x.sizes(), x.options().dtype(half)), {}, {}};
  if (keeps) {
    all.mean = at::empty({rows}, x.options().dtype(at::kFloat));
    all.inverse = at::empty_like(all.mean);
  }
  void *in = data(x), *more = data(branch), *g = data(gain), *b = data(bias), *sum = branch.defined() ? data(all.sum) : nullptr, *y = data(all.y);
  void *mean = data(all.mean), *inverse = data(all.inverse);
  float small = static_cast<float>(eps);
  if (rows > 0)
    launch(kernels(source, x, half, gain).forward, static_cast<unsigned>((rows + warps - 1) / warps), x,
           {&in, &more, &g, &b, &sum, &y, &mean, &inverse, &rows, &small});
  return all;
}

struct ResidualNorm : torch::autograd::Function<ResidualNorm> {
  static variable_list forward(AutogradContext* context, const Tensor& x, const std::optional<Tensor>& branch, const Tensor& gain, const Tensor& bias, double eps,
                               int64_t half, int64_t source) {
    const auto all = ::forward(reinterpret_cast<const char*>(source), x, branch.value_or(Tensor()), gain, bias, eps, static_cast<at::ScalarType>(half), true);
    context->save_for_backward({all.sum, gain, all.mean, all.inverse});
    context->saved_data["half"] = half;
    context->saved_data["branch"] = branch.has_value();
    context->saved_data["source"] = source;
    context->set_materialize_grads(false);
    return {branch ? all.sum : x.alias(), all.y};
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const Tensor &sum = saved[0], &gain = saved[1], &mean = saved[2], &inverse = saved[3];
    const auto half = static_cast<at::ScalarType>(context->saved_data["half"].toInt());
    const auto source = reinterpret_cast<const char*>(context->saved_data["source"].toInt());
    const bool has_branch = context->saved_data["branch"].toBool();
    const auto dense = [](const Tensor& gradient) { return gradient.defined() ? gradient.contiguous() : gradient; };
    const Tensor by_sum = dense(gradients[0]), by_y = gradients[1].defined() ? dense(gradients[1]) : at::zeros(sum.sizes(), sum.options().dtype(half));
    const Tensor by_x = at::empty_like(sum), by_branch = has_branch ? at::empty(sum.sizes(), sum.options().dtype(half)) : Tensor();
    int64_t rows = mean.numel();
    const Kernels& found = kernels(source, sum, half, gain);
    const auto blocks = static_cast<unsigned>(std::min<int64_t>((rows + warps - 1) / warps, 2 * found.processors));
    const Tensor partial = at::empty({blocks, 2, sum.size(-1)}, mean.options());
    void *s = data(sum), *d = data(by_y), *more = data(by_sum), *g = data(gain), *m = data(mean), *i = data(inverse);
    void *out = data(by_x), *half_out = data(by_branch), *parts = data(partial);
    if (rows > 0) launch(found.backward, blocks, sum, {&s, &d, &more, &g, &m, &i, &out, &half_out, &parts, &rows});
    const Tensor of_parameters = partial.sum(0);  // [2, width]
    return {by_x, by_branch, of_parameters[0].to(gain.scalar_type()), of_parameters[1].to(gain.scalar_type()), {}, {}, {}};
  }
};
}  // namespace

extern "C" {
// x: [.., width] on a GPU, dense; branch: of its shape, of a half kind (c10::ScalarType), or null. sum: x + branch, or x; y: norm(sum) of the
// half kind. Differentiable where x is f32. source: of norm.cu, which lives as long as the program.
int flava_residual_norm(const char* source, const Tensor* x, const Tensor* branch, const Tensor* gain, const Tensor* bias, double eps, int half, Tensor** sum,
                        Tensor** y) {
  return guarded([&] {
    const auto kind = static_cast<at::ScalarType>(half);
    const Tensor stream = x->contiguous(), more = branch ? branch->contiguous() : Tensor();
    if (at::GradMode::is_enabled() && (stream.requires_grad() || gain->requires_grad() || (branch && more.requires_grad()))) {
      const auto both = ResidualNorm::apply(stream, branch ? std::optional<Tensor>(more) : std::nullopt, *gain, *bias, eps, static_cast<int64_t>(half),
                                            reinterpret_cast<int64_t>(source));
      *sum = new Tensor(both[0]);
      *y = new Tensor(both[1]);
      return;
    }
    auto all = forward(source, stream, more, *gain, *bias, eps, kind, false);
    *sum = new Tensor(std::move(all.sum));
    *y = new Tensor(std::move(all.y));
  });
}
}
