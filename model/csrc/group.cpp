// libtorch's c10d: processes that compute together over Gloo or NCCL. What waits takes a time-out, and every failure is a message.
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include <dlfcn.h>

#include <cstdlib>
#include <cstring>

#include "guarded.h"

using at::Tensor;
using Milliseconds = std::chrono::milliseconds;
using Store = c10::intrusive_ptr<c10d::Store>;
using Group = c10::intrusive_ptr<c10d::Backend>;
using Work = c10::intrusive_ptr<c10d::Work>;

namespace {
void started(Work work, Work** out) {
  *out = new Work(std::move(work));
}

std::vector<Tensor> one(const Tensor* tensor) {
  return {*tensor};
}

// c10d's group over NCCL, which libtorch's CUDA library exports. Its header asks for those of CUDA, which nothing else here needs: it
// is made by the names of its constructors, in more memory than libtorch 2.11.0, the only one that this links, gives it (1112 and 248
// bytes), and is a Backend like all others from there on.
namespace nccl {
using Options = c10d::Backend::Options;
using MakeOptions = void (*)(void* self, bool high_priority);
using MakeGroup = void (*)(void* self, Store* store, int rank, int world, c10::intrusive_ptr<Options>* options);
constexpr size_t group_size = 4096, options_size = 1024;

template <typename Function>
Function find(void* library, const char* name) {
  auto found = reinterpret_cast<Function>(dlsym(library, name));
  TORCH_CHECK(found, "this libtorch has no NCCL: ", name, " is not there");
  return found;
}

void* room(size_t size) {
  return std::memset(::operator new(size), 0, size);
}

Group make(Store store, int rank, int world, Milliseconds timeout) {
  void* library = dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_NOLOAD);
  TORCH_CHECK(library, "libtorch's CUDA library is not loaded");
  const auto make_options = find<MakeOptions>(library, "_ZN4c10d16ProcessGroupNCCL7OptionsC1Eb");
  const auto make_group = find<MakeGroup>(
      library, "_ZN4c10d16ProcessGroupNCCLC1EN3c1013intrusive_ptrINS_5StoreENS1_6detail34intrusive_target_default_null_typeIS3_EEEEiiNS2_INS0_7"
               "OptionsENS5_IS8_EEEE");
  void* memory = room(options_size);
  make_options(memory, false);
  auto options = c10::intrusive_ptr<Options>::unsafe_steal_from_new(static_cast<Options*>(memory));
  options->timeout = timeout;
  memory = room(group_size);
  try {
    make_group(memory, &store, rank, world, &options);
  } catch (...) {
    ::operator delete(memory);
    throw;
  }
  return Group::unsafe_steal_from_new(static_cast<c10d::Backend*>(memory));
}
}  // namespace nccl
}  // namespace

extern "C" {
// Meets the others; `address` is this process's, as the others reach it, or the name of a network interface.
int flava_group_gloo(const Store* store, int rank, int world, int64_t timeout_ms, const char* address, int is_interface, Group** out) {
  return guarded([&] {
    // Its record of every collective serves dumps that nobody asks for, and is kept in a map that groups of several threads
    // spoil.
    [[maybe_unused]] static const int no_record = setenv("TORCH_FR_BUFFER_SIZE", "0", 0);
    auto options = c10d::ProcessGroupGloo::Options::create(Milliseconds(timeout_ms));
    options->devices.push_back(is_interface ? c10d::ProcessGroupGloo::createDeviceForInterface(address)
                                            : c10d::ProcessGroupGloo::createDeviceForHostname(address));
    *out = new Group(c10::make_intrusive<c10d::ProcessGroupGloo>(*store, rank, world, options));
  });
}

// The same processes over NCCL, each with the GPU of this number.
int flava_group_nccl(const Store* store, int rank, int world, int64_t timeout_ms, int device, Group** out) {
  return guarded([&] {
    const at::Device gpu(at::kCUDA, static_cast<c10::DeviceIndex>(device));
    Store own = c10::make_intrusive<c10d::PrefixStore>("nccl", *store);
    Group group = nccl::make(std::move(own), rank, world, Milliseconds(timeout_ms));
    c10::impl::VirtualGuardImpl(at::kCUDA).setDevice(gpu);
    group->setBoundDeviceId(gpu);
    *out = new Group(std::move(group));
  });
}

// The sum of all processes' tensors, in place of each.
int flava_group_sum(const Group* group, const Tensor* tensor, Work** out) {
  return guarded([&] {
    auto tensors = one(tensor);
    started((*group)->allreduce(tensors, c10d::AllreduceOptions()), out);
  });
}

// into: every process's `from`, in the order of the ranks; all of one size.
int flava_group_all_gather(const Group* group, Tensor* into, Tensor* from, Work** out) {
  return guarded([&] { started((*group)->_allgather_base(*into, *from), out); });
}

// into: this process's part of the sum of all processes' `from`.
int flava_group_reduce_scatter(const Group* group, Tensor* into, Tensor* from, Work** out) {
  return guarded([&] { started((*group)->_reduce_scatter_base(*into, *from), out); });
}

int flava_group_broadcast(const Group* group, const Tensor* tensor, int root, Work** out) {
  return guarded([&] {
    auto tensors = one(tensor);
    c10d::BroadcastOptions options;
    options.rootRank = root;
    started((*group)->broadcast(tensors, options), out);
  });
}

// Ends what is under way, of which nobody waits for any: a process that fails must not wait for the others.
void flava_group_free(Group* group) {
  guarded([&] { (*group)->abort(); });
  delete group;
}

int flava_work_wait(const Work* work) {
  return guarded([&] { (*work)->wait(); });
}

void flava_work_free(Work* work) { delete work; }
}
