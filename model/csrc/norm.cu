// A residual sum and the layer norm of it, forward and backward; compiled on the GPU it runs on, for the width and the kinds that it is
// asked for: STREAM of the residual stream, HALF of the branch and of what is normed, PARAM of gain and bias, each F32, BF16 or F16.
// A warp has a row, a lane four numbers in every 128 of it.

struct F32 {
  typedef float type;
  static __device__ void load(const type* from, float* to) {
    const float4 v = *reinterpret_cast<const float4*>(from);
    to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
  }
  static __device__ void store(type* to, const float* from) { *reinterpret_cast<float4*>(to) = make_float4(from[0], from[1], from[2], from[3]); }
  static __device__ float rounded(float x) { return x; }
};

template <typename Own>
struct SixteenBits {
  typedef unsigned short type;
  static __device__ void load(const type* from, float* to) {
    const ushort4 v = *reinterpret_cast<const ushort4*>(from);
    to[0] = Own::widened(v.x), to[1] = Own::widened(v.y), to[2] = Own::widened(v.z), to[3] = Own::widened(v.w);
  }
  static __device__ void store(type* to, const float* from) {
    *reinterpret_cast<ushort4*>(to) = make_ushort4(Own::narrowed(from[0]), Own::narrowed(from[1]), Own::narrowed(from[2]), Own::narrowed(from[3]));
  }
  static __device__ float rounded(float x) { return Own::widened(Own::narrowed(x)); }
};

struct BF16 : SixteenBits<BF16> {
  static __device__ float widened(unsigned short bits) { return __uint_as_float(static_cast<unsigned>(bits) << 16); }
  static __device__ unsigned short narrowed(float x) {
    const unsigned bits = __float_as_uint(x);
    if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fff;  // NaN
    return static_cast<unsigned short>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
  }
};

struct F16 : SixteenBits<F16> {
  static __device__ float widened(unsigned short bits) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
  }
  static __device__ unsigned short narrowed(float x) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
  }
};

constexpr int WARPS = 8, STRIDE = 128, PARTS = WIDTH / STRIDE;

__device__ float sum_of_warp(float x) {
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffff, x, offset);
  return x;
}

// sum = x + branch, y = norm(sum); without a branch, y = norm(x). mean and inverse (of the deviation) are kept for the backward pass where
// they are not null.
extern "C" __global__ void __launch_bounds__(32 * WARPS)
norm_forward(const STREAM::type* x, const HALF::type* branch, const PARAM::type* gain, const PARAM::type* bias, STREAM::type* sum, HALF::type* y,
             float* mean, float* inverse, long long rows, float eps) {
  const long long row = static_cast<long long>(blockIdx.x) * WARPS + threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  if (row >= rows) return;
  const long long start = row * WIDTH + 4 * lane;
  float v[PARTS][4], total = 0;
#pragma unroll
  for (int p = 0; p < PARTS; ++p) {
    STREAM::load(x + start + p * STRIDE, v[p]);
    if (branch) {
      float more[4];
      HALF::load(branch + start + p * STRIDE, more);
      for (int i = 0; i < 4; ++i) v[p][i] = STREAM::rounded(v[p][i] + more[i]);
      STREAM::store(sum + start + p * STRIDE, v[p]);
    }
    for (int i = 0; i < 4; ++i) total += v[p][i];
  }
  const float centre = sum_of_warp(total) / WIDTH;
  float squares = 0;
#pragma unroll
  for (int p = 0; p < PARTS; ++p)
    for (int i = 0; i < 4; ++i) squares += (v[p][i] - centre) * (v[p][i] - centre);
  const float scale = rsqrtf(sum_of_warp(squares) / WIDTH + eps);
#pragma unroll
  for (int p = 0; p < PARTS; ++p) {
    float g[4], b[4];
    PARAM::load(gain + 4 * lane + p * STRIDE, g);
    PARAM::load(bias + 4 * lane + p * STRIDE, b);
    for (int i = 0; i < 4; ++i) v[p][i] = (v[p][i] - centre) * scale * g[i] + b[i];
    HALF::store(y + start + p * STRIDE, v[p]);
  }
  if (mean && lane == 0) {
    mean[row] = centre;
    inverse[row] = scale;
  }
}

// From the gradients of y and of sum (null: none) to those of x and of the branch (null: none), and to a sum of each block's rows for gain
// and bias: partial is [blocks, 2, WIDTH].
extern "C" __global__ void __launch_bounds__(32 * WARPS)
norm_backward(const STREAM::type* sum, const HALF::type* by_y, const STREAM::type* by_sum, const PARAM::type* gain, const float* mean,
              const float* inverse, STREAM::type* by_x, HALF::type* by_branch, float* partial, long long rows) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  float by_gain[PARTS][4] = {}, by_bias[PARTS][4] = {};
  for (long long row = static_cast<long long>(blockIdx.x) * WARPS + warp; row < rows; row += static_cast<long long>(gridDim.x) * WARPS) {
    const long long start = row * WIDTH + 4 * lane;
    const float centre = mean[row], scale = inverse[row];
    float normed[PARTS][4], d[PARTS][4], first = 0, second = 0;
#pragma unroll
    for (int p = 0; p < PARTS; ++p) {
      float g[4];
      STREAM::load(sum + start + p * STRIDE, normed[p]);
      HALF::load(by_y + start + p * STRIDE, d[p]);
      PARAM::load(gain + 4 * lane + p * STRIDE, g);
      for (int i = 0; i < 4; ++i) {
        normed[p][i] = (normed[p][i] - centre) * scale;
        by_gain[p][i] += d[p][i] * normed[p][i];
        by_bias[p][i] += d[p][i];
        d[p][i] *= g[i];
        first += d[p][i];
        second += d[p][i] * normed[p][i];
      }
    }
    first = sum_of_warp(first) / WIDTH;
    second = sum_of_warp(second) / WIDTH;
#pragma unroll
    for (int p = 0; p < PARTS; ++p) {
      float more[4] = {0, 0, 0, 0};
      if (by_sum) STREAM::load(by_sum + start + p * STRIDE, more);
      for (int i = 0; i < 4; ++i) d[p][i] = (d[p][i] - first - normed[p][i] * second) * scale + more[i];
      STREAM::store(by_x + start + p * STRIDE, d[p]);
      if (by_branch) HALF::store(by_branch + start + p * STRIDE, d[p]);
    }
  }
  __shared__ float all[2][WIDTH];  // the warps one after the other, so that the order is the same each time
  for (int turn = 0; turn < WARPS; ++turn) {
    if (warp == turn)
      for (int p = 0; p < PARTS; ++p)
        for (int i = 0; i < 4; ++i) {
          const int at = p * STRIDE + 4 * lane + i;
          all[0][at] = by_gain[p][i] + (turn ? all[0][at] : 0);
          all[1][at] = by_bias[p][i] + (turn ? all[1][at] : 0);
        }
    __syncthreads();
  }
  for (int at = threadIdx.x; at < 2 * WIDTH; at += blockDim.x) partial[static_cast<long long>(blockIdx.x) * 2 * WIDTH + at] = all[at / WIDTH][at % WIDTH];
}
