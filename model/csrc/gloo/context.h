#pragma once
// c10d's header of Gloo names gloo's classes, whose headers libtorch does not ship. These declarations let it be read;
// nothing of them is laid out, made or called here: gloo itself is inside libtorch_cpu.so.
#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace gloo {
class Context {
 public:
  void setTimeout(std::chrono::milliseconds timeout);
};
}  // namespace gloo
