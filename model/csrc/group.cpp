// libtorch's c10d: processes that compute together over Gloo. What waits takes a time-out, and every failure is a message.
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include <cstdlib>

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

void flava_group_free(Group* group) { delete group; }

int flava_work_wait(const Work* work) {
  return guarded([&] { (*work)->wait(); });
}

void flava_work_free(Work* work) { delete work; }
}
