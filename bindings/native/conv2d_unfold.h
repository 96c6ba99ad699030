// A convolution as matrix products of unfolded images: row (image, p, q) of a matrix has the window of x that output
// (p, q) is made of, [r, s, c]. Some rows of outputs at a time:
//   y = windows * weight^T,  windows' gradient = dy * weight, folded into dx,  dweight += dy^T * windows.
// It serves the shapes that no other implementation serves with the same bits for any number of threads: oneDNN's own
// products of unfolded images and its gradients of weights are sums in an order that follows the threads.
#pragma once

#include <algorithm>

#include "avedis_cpu.h"
#include "gemm.h"
#include "onednn.h"

namespace avedis {

// Whether there is one window and it covers the image: a plain matrix product.
inline bool window_is_image(const avedis_conv2d_geometry& g) {
    return g.h == g.r && g.w == g.s && g.pad_h == 0 && g.pad_w == 0;
}

class unfolding {
public:
    explicit unfolding(const avedis_conv2d_geometry& g)
        : g(g),
          p((g.h + 2 * g.pad_h - g.r) / g.stride_h + 1),
          q((g.w + 2 * g.pad_w - g.s) / g.stride_w + 1),
          window(static_cast<int64_t>(g.r) * g.s * g.c),
          x_is_windows(window_is_image(g) ||
                       (g.r == 1 && g.s == 1 && g.stride_h == 1 && g.stride_w == 1 && g.pad_h == 0 && g.pad_w == 0)),
          rows(g.n * p),
          rows_at_once(x_is_windows ? rows : std::clamp<int64_t>(kFloats / (q * window), 1, rows)) {}

    // Of the windows of the rows of a step.
    size_t bytes() const { return x_is_windows ? 0 : sizeof(float) * rows_at_once * q * window; }

    void forward(float* y, const float* x, const float* weight, float* windows) const {
        steps([&](int64_t first, int64_t count) {
            gemm(false, true, count * q, g.k, window, unfold(windows, x, first, count), weight, y + first * q * g.k,
                 false);
        });
    }

    void backward_data(float* dx, const float* dy, const float* weight, float* windows) const {
        if (x_is_windows) return gemm(false, false, rows * q, window, g.k, dy, weight, dx, false);
        avedis_zero(dx, sizeof(float) * g.n * g.h * g.w * g.c);
        steps([&](int64_t first, int64_t count) {
            gemm(false, false, count * q, window, g.k, dy + first * q * g.k, weight, windows, false);
            fold(dx, windows, first, count);
        });
    }

    void backward_weight(float* dweight, const float* dy, const float* x, float* windows) const {
        steps([&](int64_t first, int64_t count) {
            gemm(true, false, g.k, window, count * q, dy + first * q * g.k, unfold(windows, x, first, count), dweight,
                 true);
        });
    }

private:
    static constexpr int64_t kFloats = 1 << 19;  // of the windows of a step: 2 MiB

    template <class Body>
    void steps(Body body) const {
        for (int64_t first = 0; first < rows; first += rows_at_once) body(first, std::min(rows_at_once, rows - first));
    }

    // What part of window row r lies inside the image: pixels [begin, end) of the window's s, the first at `from` of
    // the row.
    struct span {
        int64_t begin, end, from;
    };
    span inside(int64_t column) const {
        int64_t corner = column * g.stride_w - g.pad_w, begin = std::clamp<int64_t>(-corner, 0, g.s);
        return {begin, std::max(begin, std::min<int64_t>(g.s, g.w - corner)), corner + begin};
    }

    const float* unfold(float* windows, const float* x, int64_t first, int64_t count) const {
        if (x_is_windows) return x;
        int64_t length = static_cast<int64_t>(g.s) * g.c;
#pragma omp parallel for schedule(static)
        for (int64_t i = 0; i < count; i++) {
            int64_t image = (first + i) / p, top = (first + i) % p * g.stride_h - g.pad_h;
            for (int64_t column = 0; column < q; column++) {
                span in = inside(column);
                float* to = windows + (i * q + column) * window;
                for (int64_t y = top; y < top + g.r; y++, to += length)
                    if (y < 0 || y >= g.h) {
                        std::fill_n(to, length, 0.0f);
                    } else {
                        std::fill_n(to, in.begin * g.c, 0.0f);
                        std::copy_n(x + ((image * g.h + y) * g.w + in.from) * g.c, (in.end - in.begin) * g.c,
                                    to + in.begin * g.c);
                        std::fill(to + in.end * g.c, to + length, 0.0f);
                    }
            }
        }
        return windows;
    }

    // dx += the windows' gradients. A row of dx belongs to one thread, which takes them in one order.
    void fold(float* dx, const float* windows, int64_t first, int64_t count) const {
        int64_t image = first / p, last_image = (first + count - 1) / p;
#pragma omp parallel for schedule(static)
        for (int64_t row = image * g.h; row < (last_image + 1) * g.h; row++)
            for (int64_t r = 0; r < g.r; r++) {
                int64_t from = row % g.h + g.pad_h - r, i = row / g.h * p + from / g.stride_h - first;
                if (from < 0 || from % g.stride_h != 0 || from / g.stride_h >= p || i < 0 || i >= count) continue;
                for (int64_t column = 0; column < q; column++) {
                    span in = inside(column);
                    const float* gradient = windows + ((i * q + column) * g.r + r) * g.s * g.c;
                    float* to = dx + (row * g.w + in.from) * g.c;
                    for (int64_t j = in.begin * g.c; j < in.end * g.c; j++) *to++ += gradient[j];
                }
            }
    }

    avedis_conv2d_geometry g;
    int64_t p, q, window;
    bool x_is_windows;
    int64_t rows, rows_at_once;  // of outputs, of all images
};

}  // namespace avedis
