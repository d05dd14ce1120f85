// What a compiler finds where LIBTORCH has no header (.cargo/config.toml): one of the system's, or a file that is not there, which ends
// it at once and says what to do.
#if __has_include_next(<torch/torch.h>)
#include_next <torch/torch.h>
#else
#include "there is no libtorch: run `make setup` first, or set LIBTORCH to your own"
#endif
