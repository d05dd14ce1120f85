// Attention on CPUs with its backward pass. A head of a sequence at a time, so that its scores stay in the core's cache; its products are
// oneDNN's small ones in f32, whatever kind the states are of; probabilities are not kept for the backward pass, which computes them again.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/cpu/Utils.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "guarded.h"

// Exported by libtorch, but in none of its installed headers. c (m, n) = a (m, k) b (k, n), rows apart by ld*.
namespace at::native::cpublas {
void brgemm(int64_t m, int64_t n, int64_t k, int64_t lda, int64_t ldb, int64_t ldc, bool add, const float* a, const float* b, float* c, bool is_vnni);
}

// Loops are compiled for several widths of vectors, of which the program takes the processor's; older compilers know none of these levels.
#if defined(__x86_64__) && !defined(__clang__) && defined(__GNUC__) && __GNUC__ >= 12
#define WIDE __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define WIDE
#endif
#define INLINE inline __attribute__((always_inline))

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {
// Rows of products are a multiple of this, since a product is compiled for each number of rows.
constexpr int64_t kRows = 8;

int64_t padded(int64_t rows) { return (rows + kRows - 1) / kRows * kRows; }

void product(int64_t m, int64_t n, int64_t k, const float* a, const float* b, float* c) {
  at::native::cpublas::brgemm(m, n, k, k, n, n, false, a, b, c, false);
}

// e^x of x <= 0 to two units in the last place, 0 where it is none of the normal numbers (Cephes' expf).
INLINE float exponential(float x) {
  constexpr float magic = 12582912.0f;  // rounds to a whole number
  const float whole = (x * 1.44269504f + magic) - magic;
  const float rest = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
  float sum = 1.9875691500e-4f;
  sum = sum * rest + 1.3981999507e-3f;
  sum = sum * rest + 8.3334519073e-3f;
  sum = sum * rest + 4.1665795894e-2f;
  sum = sum * rest + 1.6666665459e-1f;
  sum = sum * rest + 5.0000001201e-1f;
  sum = sum * rest * rest + rest + 1.0f;
  const bool vanishes = x < -87.3f;
  const int32_t exponent = (static_cast<int32_t>(vanishes ? 0.0f : whole) + 127) << 23;
  float power;
  __builtin_memcpy(&power, &exponent, sizeof power);
  return vanishes ? 0.0f : sum * power;
}

// Rows of numbers side by side, `stride` apart.
template <typename T>
struct Rows {
  T* first;
  int64_t stride, count, dim;
};

// `from` times `scale` as it is and turned, [padded, dim] and [dim, padded], zero where there is no row; either may be null.
template <typename T>
INLINE void load(Rows<const T> from, float scale, float* rows, float* turned) {
  const int64_t size = padded(from.count), dim = from.dim;
  for (int64_t r = 0; r < size; ++r) {
    const T* row = from.first + r * from.stride;
    const bool is_there = r < from.count;
    if (rows)
      for (int64_t c = 0; c < dim; ++c) rows[r * dim + c] = is_there ? static_cast<float>(row[c]) * scale : 0.0f;
    if (turned)
      for (int64_t c = 0; c < dim; ++c) turned[c * size + r] = is_there ? static_cast<float>(row[c]) * scale : 0.0f;
  }
}

template <typename T>
INLINE void store(const float* from, Rows<T> to) {
  for (int64_t r = 0; r < to.count; ++r)
    for (int64_t c = 0; c < to.dim; ++c) to.first[r * to.stride + c] = static_cast<T>(from[r * to.dim + c]);
}

template <typename T>
INLINE void store_turned(const float* from, float scale, Rows<T> to) {
  const int64_t size = padded(to.count);
  for (int64_t r = 0; r < to.count; ++r)
    for (int64_t c = 0; c < to.dim; ++c) to.first[r * to.stride + c] = static_cast<T>(from[c * size + r] * scale);
}

// What a query's probabilities are made of: e^(score - top) * share.
struct Softmax {
  float top, share;
};

// Scores [queries, keys] to e^(score - top); keys from `count` on, up to `size`, get nothing.
INLINE void softmax(float* scores, int64_t queries, int64_t count, int64_t size, const float* mask, Softmax* found) {
  for (int64_t r = 0; r < queries; ++r) {
    float* row = scores + r * size;
    if (mask)
      for (int64_t j = 0; j < count; ++j) row[j] += mask[j];
    for (int64_t j = count; j < size; ++j) row[j] = -std::numeric_limits<float>::infinity();
    float tops[kRows], sums[kRows];
    for (int64_t lane = 0; lane < kRows; ++lane) tops[lane] = row[lane];
    for (int64_t j = kRows; j < size; j += kRows)
      for (int64_t lane = 0; lane < kRows; ++lane) tops[lane] = row[j + lane] > tops[lane] ? row[j + lane] : tops[lane];
    float top = tops[0], sum = 0.0f;
    for (float one : tops) top = one > top ? one : top;
    for (int64_t j = 0; j < size; ++j) row[j] = exponential(row[j] - top);
    for (float& one : sums) one = 0.0f;
    for (int64_t j = 0; j < size; j += kRows)
      for (int64_t lane = 0; lane < kRows; ++lane) sums[lane] += row[j + lane];
    for (float one : sums) sum += one;
    found[r] = {top, 1.0f / sum};
  }
}

// Room for one head of one sequence.
struct Room {
  std::vector<float> q, k, v, g, q_turned, k_turned, g_turned, scores, others, out;
  std::vector<float> tops, shares, means;
  void fit(int64_t queries, int64_t keys, int64_t dim, bool is_backward) {
    const int64_t m = padded(queries), n = padded(keys), most = m > n ? m : n;
    const auto least = [](std::vector<float>& all, int64_t size) { if (static_cast<int64_t>(all.size()) < size) all.resize(size); };
    for (auto* all : {&q, &k, &v, &k_turned, &out}) least(*all, most * dim);
    least(scores, m * n);
    if (!is_backward) return;
    for (auto* all : {&g, &q_turned, &g_turned}) least(*all, m * dim);
    for (auto* all : {&tops, &shares, &means}) least(*all, m);
    least(others, m * n);
  }
};

template <typename T>
struct Head {
  Rows<const T> q, k, v;
  const float* mask;  // of its keys, or null
  Softmax* softmax;   // of its queries
};

template <typename T>
INLINE void forward_of(const Head<T>& head, Rows<T> context, Room& room) {
  const int64_t queries = head.q.count, keys = head.k.count, dim = head.q.dim, m = padded(queries), n = padded(keys);
  load(head.q, 1.0f / std::sqrt(static_cast<float>(dim)), room.q.data(), nullptr);
  load(head.k, 1.0f, nullptr, room.k_turned.data());
  load(head.v, 1.0f, room.v.data(), nullptr);
  product(m, n, dim, room.q.data(), room.k_turned.data(), room.scores.data());
  softmax(room.scores.data(), queries, keys, n, head.mask, head.softmax);
  product(m, dim, n, room.scores.data(), room.v.data(), room.out.data());
  for (int64_t r = 0; r < queries; ++r)
    for (int64_t c = 0; c < dim; ++c) room.out[r * dim + c] *= head.softmax[r].share;
  store(room.out.data(), context);
}

template <typename T>
struct HeadGradients {
  Rows<const T> context;  // of the output
  Rows<T> q, k, v;
};

// Scores, probabilities and their gradients are [keys, queries] here, so that every product reads them as they are.
template <typename T>
INLINE void backward_of(const Head<T>& head, const HeadGradients<T>& to, Room& room) {
  const int64_t queries = head.q.count, keys = head.k.count, dim = head.q.dim, m = padded(queries), n = padded(keys);
  const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
  load(head.q, scale, room.q.data(), room.q_turned.data());
  load(head.k, 1.0f, room.k.data(), room.k_turned.data());
  load(head.v, 1.0f, room.v.data(), nullptr);
  load(to.context, 1.0f, room.g.data(), room.g_turned.data());
  for (int64_t r = 0; r < m; ++r) {
    const bool is_there = r < queries;
    room.tops[r] = is_there ? head.softmax[r].top : 0.0f;
    room.shares[r] = is_there ? head.softmax[r].share : 0.0f;
    room.means[r] = 0.0f;
  }
  float *probabilities = room.scores.data(), *slopes = room.others.data();
  const float *tops = room.tops.data(), *shares = room.shares.data();
  float* means = room.means.data();
  product(n, m, dim, room.k.data(), room.q_turned.data(), probabilities);
  product(n, m, dim, room.v.data(), room.g_turned.data(), slopes);
  for (int64_t j = 0; j < n; ++j) {
    float* row = probabilities + j * m;
    const float* slope = slopes + j * m;
    const float added = j >= keys ? -std::numeric_limits<float>::infinity() : head.mask ? head.mask[j] : 0.0f;
    for (int64_t r = 0; r < m; ++r) {
      row[r] = exponential((row[r] + added) - tops[r]) * shares[r];
      means[r] += row[r] * slope[r];
    }
  }
  for (int64_t j = 0; j < n; ++j)
    for (int64_t r = 0; r < m; ++r) slopes[j * m + r] = probabilities[j * m + r] * (slopes[j * m + r] - means[r]);
  product(n, dim, m, probabilities, room.g.data(), room.out.data());
  store(room.out.data(), to.v);
  product(n, dim, m, slopes, room.q.data(), room.out.data());
  store(room.out.data(), to.k);
  product(dim, m, n, room.k_turned.data(), slopes, room.out.data());
  store_turned(room.out.data(), scale, to.q);
}

WIDE void forward(const Head<float>& head, Rows<float> context, Room& room) { forward_of(head, context, room); }
WIDE void forward(const Head<at::BFloat16>& head, Rows<at::BFloat16> context, Room& room) { forward_of(head, context, room); }
WIDE void forward(const Head<at::Half>& head, Rows<at::Half> context, Room& room) { forward_of(head, context, room); }
WIDE void backward(const Head<float>& head, const HeadGradients<float>& to, Room& room) { backward_of(head, to, room); }
WIDE void backward(const Head<at::BFloat16>& head, const HeadGradients<at::BFloat16>& to, Room& room) { backward_of(head, to, room); }
WIDE void backward(const Head<at::Half>& head, const HeadGradients<at::Half>& to, Room& room) { backward_of(head, to, room); }

// Where a sequence lies: which of the batch, its first row there, how many it has.
struct Sequence {
  int64_t batch, first, queries, keys;
};

// A whole batch: queries [batch, heads, queries, dim], keys and values [batch, heads, keys, dim], of any strides but the last; of a batch of
// one, sequences that begin at `starts`. `softmaxes`: [batch, heads, queries, 2].
struct Attention {
  Tensor q, k, v, softmaxes;
  std::optional<Tensor> mask;  // f32 [batch, 1, 1, keys], contiguous
  std::vector<Sequence> sequences;

  Attention(const Tensor& q, const Tensor& k, const Tensor& v, const std::optional<Tensor>& starts, const std::optional<Tensor>& mask)
      : q(dense(q)), k(dense(k)), v(dense(v)) {
    TORCH_CHECK(q.dim() == 4 && k.sizes() == v.sizes() && q.size(0) == k.size(0) && q.size(1) == k.size(1) && q.size(3) == k.size(3),
                "attention of ", q.sizes(), " to ", k.sizes(), " and ", v.sizes());
    TORCH_CHECK(q.scalar_type() == k.scalar_type() && q.scalar_type() == v.scalar_type(), "attention of several kinds of numbers");
    if (mask) {
      TORCH_CHECK(mask->numel() == k.size(0) * k.size(2), "a mask ", mask->sizes(), " of keys ", k.sizes());
      this->mask = mask->to(at::kFloat).contiguous();
    }
    if (starts) {
      TORCH_CHECK(q.sizes() == k.sizes() && q.size(0) == 1 && starts->is_contiguous() && starts->numel() > 0, "sequences of ", q.sizes());
      const int32_t* at = starts->const_data_ptr<int32_t>();
      TORCH_CHECK(at[0] == 0 && std::is_sorted(at, at + starts->numel()) && at[starts->numel() - 1] == q.size(2), "sequences of other tokens");
      for (int64_t i = 0; i + 1 < starts->numel(); ++i) sequences.push_back({0, at[i], at[i + 1] - at[i], at[i + 1] - at[i]});
    } else {
      for (int64_t b = 0; b < q.size(0); ++b) sequences.push_back({b, 0, q.size(2), k.size(2)});
    }
  }

  static Tensor dense(const Tensor& t) { return t.stride(-1) == 1 ? t : t.contiguous(); }

  // In the shape of `t`, its heads side by side in memory.
  static Tensor room_like(const Tensor& t) { return at::empty({t.size(0), t.size(2), t.size(1), t.size(3)}, t.options()).transpose(1, 2); }

  template <typename T>
  static Rows<T> rows(const Tensor& of, int64_t b, int64_t h, int64_t first, int64_t count) {
    using Number = std::remove_const_t<T>;
    Number* data = const_cast<Number*>(of.const_data_ptr<Number>());
    return {data + b * of.stride(0) + h * of.stride(1) + first * of.stride(2), of.stride(2), count, of.size(3)};
  }

  template <typename T>
  Head<T> head(const Sequence& s, int64_t h) const {
    const int64_t at = (s.batch * q.size(1) + h) * q.size(2) + s.first;
    return {rows<const T>(q, s.batch, h, s.first, s.queries), rows<const T>(k, s.batch, h, s.first, s.keys), rows<const T>(v, s.batch, h, s.first, s.keys),
            mask ? mask->const_data_ptr<float>() + s.batch * mask->size(-1) : nullptr, reinterpret_cast<Softmax*>(softmaxes.data_ptr<float>()) + at};
  }

  template <typename Body>
  void each_head(bool is_backward, Body body) const {
    const int64_t heads = q.size(1);
    at::parallel_for(0, static_cast<int64_t>(sequences.size()) * heads, 1, [&](int64_t begin, int64_t end) {
      Room room;
      for (int64_t i = begin; i < end; ++i) {
        const Sequence& s = sequences[i / heads];
        if (s.queries == 0) continue;
        room.fit(s.queries, s.keys, q.size(3), is_backward);
        body(s, i % heads, room);
      }
    });
  }

  template <typename Body>
  void by_kind(Body body) const {
    switch (q.scalar_type()) {
      case at::kFloat: return body(float());
      case at::kBFloat16: return body(at::BFloat16());
      case at::kHalf: return body(at::Half());
      default: TORCH_CHECK(false, "attention of ", q.scalar_type());
    }
  }

  // The context [batch, heads, queries, dim].
  Tensor compute() {
    const Tensor context = room_like(q);
    softmaxes = at::empty({q.size(0), q.size(1), q.size(2), 2}, q.options().dtype(at::kFloat));
    by_kind([&](auto number) {
      using T = decltype(number);
      each_head(false, [&](const Sequence& s, int64_t h, Room& room) { forward(head<T>(s, h), rows<T>(context, s.batch, h, s.first, s.queries), room); });
    });
    return context;
  }

  // Gradients of queries, keys and values in their shapes.
  variable_list gradients(const Tensor& of_context) const {
    const Tensor by_q = room_like(q), by_k = room_like(k), by_v = room_like(v), given = dense(of_context);
    by_kind([&](auto number) {
      using T = decltype(number);
      each_head(true, [&](const Sequence& s, int64_t h, Room& room) {
        backward(head<T>(s, h), {rows<const T>(given, s.batch, h, s.first, s.queries), rows<T>(by_q, s.batch, h, s.first, s.queries),
                                 rows<T>(by_k, s.batch, h, s.first, s.keys), rows<T>(by_v, s.batch, h, s.first, s.keys)}, room);
      });
    });
    return {by_q, by_k, by_v};
  }
};

struct AttentionFunction : torch::autograd::Function<AttentionFunction> {
  static Tensor forward(AutogradContext* context, const Tensor& q, const Tensor& k, const Tensor& v, const std::optional<Tensor>& starts,
                        const std::optional<Tensor>& mask) {
    Attention attention(q, k, v, starts, mask);
    const Tensor out = attention.compute();
    context->save_for_backward({q, k, v, attention.softmaxes});
    context->saved_data["starts"] = starts;
    context->saved_data["mask"] = attention.mask;
    return out;
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    Attention attention(saved[0], saved[1], saved[2], context->saved_data["starts"].toOptional<Tensor>(), context->saved_data["mask"].toOptional<Tensor>());
    attention.softmaxes = saved[3];
    auto all = attention.gradients(gradients[0]);
    all.resize(5);
    return all;
  }
};

// Whether oneDNN has small products of f32 for this processor.
bool has_products() {
  static const bool has = [] {
    std::vector<float> a(64, 1.0f), b(64, 1.0f), c(64);
    try {
      product(8, 8, 8, a.data(), b.data(), c.data());
    } catch (const std::exception&) {
      return false;
    }
    return c[0] == 8.0f;
  }();
  return has;
}
}  // namespace

extern "C" {
// Whether the attention below is for such states: where a processor has AMX, its products of bf16 are faster than these of f32.
int flava_has_attention(const Tensor* states, int* has) {
  return guarded([&] {
    const auto kind = states->scalar_type();
    static const bool has_amx = at::cpu::init_amx();
    const bool is_half = kind == at::kBFloat16 || kind == at::kHalf;
    *has = states->is_cpu() && has_products() && (kind == at::kFloat || (is_half && !has_amx));
  });
}

// q: [batch, heads, queries, head_dim]; k, v: [batch, heads, keys, head_dim], all on the CPU and of one kind. mask: additive,
// [batch, 1, 1, keys], or null. starts: [sequences + 1] int32, where sequences of a batch of one begin, or null.
// out: [batch, queries, heads * head_dim].
int flava_attention(const Tensor* q, const Tensor* k, const Tensor* v, const Tensor* starts, const Tensor* mask, Tensor** out) {
  return guarded([&] {
    const auto optional = [](const Tensor* t) { return t ? std::optional<Tensor>(*t) : std::nullopt; };
    *out = new Tensor(AttentionFunction::apply(*q, *k, *v, optional(starts), optional(mask)).transpose(1, 2).flatten(2));
  });
}
}
