// libtorch's c10d: its key-value store. What waits takes a time-out, and every failure is a message.
#include <c10/util/Logging.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <cstdlib>

#include "guarded.h"

using Milliseconds = std::chrono::milliseconds;
using Store = c10::intrusive_ptr<c10d::Store>;

extern "C" {
// A client of the store at host:port, or the store itself; `listening` is a socket that is bound already, or -1.
int flava_store_open(const char* host, int port, int serve, int listening, int64_t timeout_ms, Store** out) {
  return guarded([&] {
    // What fails is an error here; c10d warns of it besides, with the frames of its stack.
    if (!std::getenv("TORCH_CPP_LOG_LEVEL")) FLAGS_caffe2_log_level = c10::GLOG_ERROR;
    c10d::TCPStoreOptions options;
    options.port = static_cast<uint16_t>(port);
    options.isServer = serve != 0;
    options.waitWorkers = false;
    options.timeout = Milliseconds(timeout_ms);
    if (listening >= 0) options.masterListenFd = listening;
    *out = new Store(c10::make_intrusive<c10d::TCPStore>(host, options));
  });
}

// The same store, whose keys begin with `prefix`.
int flava_store_below(const Store* store, const char* prefix, Store** out) {
  return guarded([&] { *out = new Store(c10::make_intrusive<c10d::PrefixStore>(prefix, *store)); });
}

int flava_store_set(const Store* store, const char* key, const uint8_t* bytes, size_t count) {
  return guarded([&] { (*store)->set(key, std::vector<uint8_t>(bytes, bytes + count)); });
}

// Waits for the key, for the store's time-out at most; `take` is called once with its bytes.
int flava_store_get(const Store* store, const char* key, void* data, void (*take)(void*, const uint8_t*, size_t)) {
  return guarded([&] {
    const auto value = (*store)->get(key);
    take(data, value.data(), value.size());
  });
}

int flava_store_add(const Store* store, const char* key, int64_t amount, int64_t* sum) {
  return guarded([&] { *sum = (*store)->add(key, amount); });
}

// Sets the key if it is not set yet; `take` is called once with the value that it has then.
int flava_store_set_once(const Store* store, const char* key, const uint8_t* bytes, size_t count, void* data,
                         void (*take)(void*, const uint8_t*, size_t)) {
  return guarded([&] {
    const auto value = (*store)->compareSet(key, {}, std::vector<uint8_t>(bytes, bytes + count));
    take(data, value.data(), value.size());
  });
}

int flava_store_has(const Store* store, const char* key, int* there) {
  return guarded([&] { *there = (*store)->check({key}); });
}

int flava_store_wait(const Store* store, const char* key, int64_t timeout_ms) {
  return guarded([&] { (*store)->wait({key}, Milliseconds(timeout_ms)); });
}

int flava_store_delete(const Store* store, const char* key) {
  return guarded([&] { (*store)->deleteKey(key); });
}

void flava_store_free(Store* store) { delete store; }
}
