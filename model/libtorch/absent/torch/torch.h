// What a compiler finds where libtorch's own header is not: the last place that it looks in (.cargo/config.toml). A file that
// is not there ends it at once, which #error does not.
#include "there is no libtorch: run `make setup` first, or set LIBTORCH to your own"
