// Vectors of pool_window.h, for one instruction set: see instruction_sets.h.

// Channels [k, k + lanes) of one output pixel. The largest z is found first and ReLU comes last: where nothing is above
// the floor all elements are equal, and the first wins.
template <bool Affine, class Y, class X, class Lanes>
AVEDIS_INLINE void pool_pixel(Y* y, uint8_t* argmax, const X* image, const affine& f, const avedis_pool2d_geometry& g,
                              const window& win, int32_t k, Lanes lanes) {
    vfloat a = {}, b = {};
    if (Affine) a = load(f.a + k, lanes), b = load(f.b + k, lanes);
    vint first = vint{} + (win.rows.begin * g.s + win.columns.begin), winner = first;
    vfloat best = vfloat{} - INFINITY;
    for (int32_t r = win.rows.begin; r < win.rows.end; r++) {
        const X* x = image + (win.corner + static_cast<int64_t>(r) * g.w) * g.c + k;
        for (int32_t s = win.columns.begin; s < win.columns.end; s++) {
            vfloat z = load(x + static_cast<int64_t>(s) * g.c, lanes);
            if (Affine) z = z * a + b;
            vint wins = z > best;
            if (!Affine) wins |= z != z;
            best = wins ? z : best;
            winner = wins ? vint{} + (r * g.s + s) : winner;
        }
    }
    if (Affine) {
        // statistics make a whole channel NaN, if anything; then nothing has won
        vfloat floor = vfloat{} + f.floor;
        winner = best > floor ? winner : first;
        best = a != a ? a : best > floor ? best : floor;
    }
    store(y, best, lanes);
    if (argmax) store(argmax, winner, lanes);
}

// Output row `row` of n * p. argmax may be null.
template <bool Affine, class T>
AVEDIS_INLINE void pool_row(T* y, uint8_t* argmax, const T* x, affine f, avedis_pool2d_geometry g, int64_t row) {
    int32_t p = pool_p(g), q = pool_q(g), c = g.c;
    const T* image = x + row / p * g.h * g.w * c;
    for (int32_t j = 0; j < q; j++) {
        window win(g, static_cast<int32_t>(row % p), j);
        int64_t out = (row * q + j) * c;
        int32_t k = 0;
        for (; k + kLanes <= c; k += kLanes)
            pool_pixel<Affine>(y + out + k, argmax ? argmax + out + k : nullptr, image, f, g, win, k, all_lanes());
        if (k < c) pool_pixel<Affine>(y + out + k, argmax ? argmax + out + k : nullptr, image, f, g, win, k, c - k);
    }
}

// dz of channels [k, k + lanes) of one input pixel: the sum of dy over the windows that it won. dy and argmax are those
// of its image.
template <class T, class Lanes>
AVEDIS_INLINE vfloat unpool(const T* dy, const uint8_t* argmax, const avedis_pool2d_geometry& g, int32_t q,
                            const cover& at, int32_t k, Lanes lanes) {
    vfloat sum = {};
    int32_t row_name = at.name;
    for (int32_t i = at.rows.begin; i < at.rows.end; i++, row_name -= g.stride_h * g.s) {
        int32_t name = row_name;
        for (int32_t j = at.columns.begin; j < at.columns.end; j++, name -= g.stride_w) {
            int64_t out = (static_cast<int64_t>(i) * q + j) * g.c + k;
            vint won = load(argmax + out, lanes) == name;
            sum += (vfloat)((vint)load(dy + out, lanes) & won);
        }
    }
    return sum;
}
