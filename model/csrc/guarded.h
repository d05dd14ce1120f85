#pragma once
// Every entry of the shim returns 0, or 1 and leaves a message.
#include <c10/util/Exception.h>

#include <exception>
#include <string>

inline thread_local std::string last_error;

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
