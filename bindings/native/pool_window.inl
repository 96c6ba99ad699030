// Vectors of pool_window.h, for one instruction set: see instruction_sets.h.

// Channels from k on of one output pixel, in Vectors vectors of `lanes`. The largest z is found first and ReLU comes
// last: where nothing is above the floor all elements are equal, and the first wins.
template <bool Affine, int Vectors, class Y, class X, class Lanes>
AVEDIS_INLINE void pool_pixel(Y* y, uint8_t* argmax, const X* image, const affine& f, const avedis_pool2d_geometry& g,
                              const window& win, int32_t k, Lanes lanes) {
    const vint first = vint{} + (win.rows.begin * g.s + win.columns.begin);
    vfloat a[Vectors] = {}, b[Vectors] = {}, best[Vectors];
    vint winner[Vectors];
    for (int v = 0; v < Vectors; v++) {
        if (Affine) a[v] = load(f.a + k + v * kLanes, lanes), b[v] = load(f.b + k + v * kLanes, lanes);
        best[v] = vfloat{} - INFINITY, winner[v] = first;
    }
    for (int32_t r = win.rows.begin; r < win.rows.end; r++) {
        const X* x = image + (win.corner + static_cast<int64_t>(r) * g.w + win.columns.begin) * g.c + k;
        for (int32_t s = win.columns.begin; s < win.columns.end; s++, x += g.c)
#pragma GCC unroll 2
            for (int v = 0; v < Vectors; v++) {
                vfloat z = load(x + v * kLanes, lanes);
                if (Affine) z = z * a[v] + b[v];
                vint wins = z > best[v];
                if (!Affine) wins |= z != z;
                best[v] = wins ? z : best[v];
                winner[v] = wins ? vint{} + (r * g.s + s) : winner[v];
            }
    }
    for (int v = 0; v < Vectors; v++) {
        if (Affine) {
            // statistics make a whole channel NaN, if anything; then nothing has won
            vfloat floor = vfloat{} + f.floor;
            winner[v] = best[v] > floor ? winner[v] : first;
            best[v] = a[v] != a[v] ? a[v] : best[v] > floor ? best[v] : floor;
        }
        store(y + k + v * kLanes, best[v], lanes);
        if (argmax) store(argmax + k + v * kLanes, winner[v], lanes);
    }
}

// Output row `row` of n * p. argmax may be null.
template <bool Affine, class T>
AVEDIS_INLINE void pool_row(T* y, uint8_t* argmax, const T* x, affine f, avedis_pool2d_geometry g, int64_t row) {
    int32_t p = pool_p(g), q = pool_q(g), c = g.c;
    const T* image = x + row / p * g.h * g.w * c;
    for (int32_t j = 0; j < q; j++) {
        window win(g, static_cast<int32_t>(row % p), j);
        T* pixel = y + (row * q + j) * c;
        uint8_t* places = argmax ? argmax + (row * q + j) * c : nullptr;
        int32_t k = 0;
        for (; k + 2 * kLanes <= c; k += 2 * kLanes)
            pool_pixel<Affine, 2>(pixel, places, image, f, g, win, k, all_lanes());
        for (; k + kLanes <= c; k += kLanes) pool_pixel<Affine, 1>(pixel, places, image, f, g, win, k, all_lanes());
        if (k < c) pool_pixel<Affine, 1>(pixel, places, image, f, g, win, k, static_cast<int>(c - k));
    }
}

// dz [Vectors] of channels from k on of one input pixel, in vectors of `lanes`: the sum of dy over the windows that it
// won. dy and argmax are those of its image.
template <int Vectors, class T, class Lanes>
AVEDIS_INLINE void unpool(vfloat* dz, const T* dy, const uint8_t* argmax, const avedis_pool2d_geometry& g, int32_t q,
                          const cover& at, int32_t k, Lanes lanes) {
    for (int v = 0; v < Vectors; v++) dz[v] = vfloat{};
    int32_t row_name = at.name;
    for (int32_t i = at.rows.begin; i < at.rows.end; i++, row_name -= g.stride_h * g.s) {
        int32_t name = row_name;
        int64_t out = (static_cast<int64_t>(i) * q + at.columns.begin) * g.c + k;
        for (int32_t j = at.columns.begin; j < at.columns.end; j++, name -= g.stride_w, out += g.c)
#pragma GCC unroll 4
            for (int v = 0; v < Vectors; v++) {
                vint won = load(argmax + out + v * kLanes, lanes) == name;
                dz[v] += (vfloat)((vint)load(dy + out + v * kLanes, lanes) & won);
            }
    }
}

// body(pixel's channel, dz, lanes) over the channels of one input pixel, a few vectors at a time.
template <class T, class Body>
AVEDIS_INLINE void unpool_pixel(const T* dy, const uint8_t* argmax, const avedis_pool2d_geometry& g, int32_t q,
                                const cover& at, Body body) {
    constexpr int kSome = 4;
    vfloat dz[kSome];
    int32_t k = 0;
    for (; k + kSome * kLanes <= g.c; k += kSome * kLanes) {
        unpool<kSome>(dz, dy, argmax, g, q, at, k, all_lanes());
#pragma GCC unroll 4
        for (int v = 0; v < kSome; v++) body(k + v * kLanes, dz[v], all_lanes());
    }
    for (; k + kLanes <= g.c; k += kLanes) {
        unpool<1>(dz, dy, argmax, g, q, at, k, all_lanes());
        body(k, dz[0], all_lanes());
    }
    if (k == g.c) return;
    unpool<1>(dz, dy, argmax, g, q, at, k, static_cast<int>(g.c - k));
    body(k, dz[0], static_cast<int>(g.c - k));
}
