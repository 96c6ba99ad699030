// Convolution, and the stem that it begins.
#include "selftest.h"

void test_conv2d(const avedis_conv2d_geometry& g, int32_t type, int32_t algorithm) {
    int p = (g.h + 2 * g.pad_h - g.r) / g.stride_h + 1, q = (g.w + 2 * g.pad_w - g.s) / g.stride_w + 1;
    size_t x_count = size_t(g.n) * g.h * g.w * g.c, y_count = size_t(g.n) * p * q * g.k;
    size_t w_count = size_t(g.k) * g.r * g.s * g.c;
    activations x(x_count, type, true), dy(y_count, type, true), y(y_count, type, false), dx(x_count, type, false);
    floats weight = random_floats(w_count), start = random_floats(w_count);
    doubles y_expected(y_count), dx_expected(x_count), dw_expected(start.begin(), start.end());
    for (int n = 0; n < g.n; n++)
        for (int i = 0; i < p; i++)
            for (int j = 0; j < q; j++)
                for (int k = 0; k < g.k; k++)
                    for (int r = 0; r < g.r; r++)
                        for (int s = 0; s < g.s; s++) {
                            int h = i * g.stride_h - g.pad_h + r, w = j * g.stride_w - g.pad_w + s;
                            if (h < 0 || h >= g.h || w < 0 || w >= g.w) continue;
                            size_t out = ((size_t(n) * p + i) * q + j) * g.k + k;
                            for (int c = 0; c < g.c; c++) {
                                size_t in = ((size_t(n) * g.h + h) * g.w + w) * g.c + c;
                                size_t at = ((size_t(k) * g.r + r) * g.s + s) * g.c + c;
                                double w_used = type == AVEDIS_BF16 ? rounded_to_bf16(weight[at]) : weight[at];
                                y_expected[out] += x.values[in] * w_used;
                                dx_expected[in] += dy.values[out] * w_used;
                                dw_expected[at] += double(dy.values[out]) * x.values[in];
                            }
                        }
    avedis_conv2d* conv;
    int64_t bytes;
    check(avedis_conv2d_create(&conv, &bytes, &g, type, algorithm), "conv2d create");
    void* workspace;
    check(avedis_allocate(&workspace, bytes + 64), "allocate");
    std::string what = std::string("conv2d ") + name_of(type) + " " + std::to_string(g.h) + "x" + std::to_string(g.w) +
                       "x" + std::to_string(g.c) + " " + std::to_string(g.r) + "x" + std::to_string(g.s);
    std::printf("       %s\n", avedis_conv2d_describe(conv));
    check(avedis_conv2d_forward(conv, y.data(), x.data(), weight.data(), workspace), "conv2d forward");
    compare(what + " forward", y.results(), y_expected, type);
    check(avedis_conv2d_backward_data(conv, dx.data(), dy.data(), weight.data(), workspace), "conv2d backward data");
    compare(what + " backward data", dx.results(), dx_expected, type);
    floats dw = start, again = start;
    check(avedis_conv2d_backward_weight(conv, dw.data(), dy.data(), x.data(), workspace), "conv2d backward weight");
    compare(what + " backward weight", dw, dw_expected, AVEDIS_F32);
    check(avedis_conv2d_backward_weight(conv, again.data(), dy.data(), x.data(), workspace), "conv2d backward weight");
    expect_same_bits(what + " backward weight", dw.data(), again.data(), dw.size() * 4);
    avedis_free(workspace);
    avedis_conv2d_destroy(conv);
}

// Against the same three operations one by one, in float: they are compared with double precision above.
void test_stem(const avedis_conv2d_geometry& g, const avedis_pool2d_geometry& pool, int32_t type) {
    int p = (pool.h + 2 * pool.pad_h - pool.r) / pool.stride_h + 1,
        q = (pool.w + 2 * pool.pad_w - pool.s) / pool.stride_w + 1;
    size_t z_count = size_t(pool.n) * pool.h * pool.w * g.k, y_count = size_t(g.n) * p * q * g.k;
    activations x(size_t(g.n) * g.h * g.w * g.c, type, true), dy(y_count, type, true), y(y_count, type, false);
    floats weight = random_floats(size_t(g.k) * g.r * g.s * g.c), gamma = random_floats(g.k), beta = random_floats(g.k);
    floats used = weight;
    if (type == AVEDIS_BF16)
        for (auto& w : used) w = rounded_to_bf16(w);
    std::vector<uint8_t> argmax(y_count), winners(y_count);
    floats z(z_count), dz(z_count), y_expected(y_count), values(6 * g.k, 1);
    floats dw = random_floats(weight.size()), dgamma = random_floats(g.k), dbeta = random_floats(g.k);
    floats dw_expected = dw, dgamma_expected = dgamma, dbeta_expected = dbeta;
    float *mean = values.data(), *inverse = mean + g.k, *running = mean + 2 * g.k, *variance = mean + 3 * g.k;
    float *mean_expected = mean + 4 * g.k, *inverse_expected = mean + 5 * g.k;
    auto doubles_of = [](const floats& v) { return doubles(v.begin(), v.end()); };

    avedis_conv2d* conv;
    int64_t bytes;
    check(avedis_conv2d_create(&conv, &bytes, &g, AVEDIS_F32, AVEDIS_CONV2D_AUTO), "conv2d create");
    void* workspace;
    check(avedis_allocate(&workspace, bytes + 64), "allocate");
    check(avedis_conv2d_forward(conv, z.data(), x.values.data(), used.data(), workspace), "conv2d forward");
    check(avedis_batch_norm_forward(y_expected.data(), winners.data(), mean_expected, inverse_expected, running,
                                    variance, z.data(), nullptr, 0, int64_t(z_count) / g.k, gamma.data(), beta.data(),
                                    AVEDIS_F32, int64_t(z_count) / g.k, g.k, &pool, 1e-5f, 0.1f, 1),
          "batch norm forward");
    check(avedis_batch_norm_backward(dz.data(), dgamma_expected.data(), dbeta_expected.data(), dy.values.data(),
                                     winners.data(), z.data(), gamma.data(), beta.data(), mean_expected,
                                     inverse_expected, AVEDIS_F32, int64_t(z_count) / g.k, g.k, &pool, 1),
          "batch norm backward");
    check(avedis_conv2d_backward_weight(conv, dw_expected.data(), dz.data(), x.values.data(), workspace),
          "conv2d backward weight");
    avedis_free(workspace);
    avedis_conv2d_destroy(conv);

    std::vector<char> state(avedis_stem_state_bytes(&g));
    check(avedis_stem_forward(y.data(), argmax.data(), mean, inverse, running, variance, state.data(), x.data(),
                              weight.data(), gamma.data(), beta.data(), type, &g, &pool, 1e-5f, 0.1f, 1),
          "stem forward");
    check(avedis_stem_backward(dw.data(), dgamma.data(), dbeta.data(), dy.data(), y.data(), argmax.data(), x.data(),
                               weight.data(), gamma.data(), inverse, state.data(), type, &g, &pool, 1),
          "stem backward");
    std::string what = std::string("stem ") + name_of(type) + " " + std::to_string(g.h) + "x" + std::to_string(g.w) +
                       "x" + std::to_string(g.c) + " to " + std::to_string(g.k);
    compare(what + " forward", y.results(), doubles_of(y_expected), type);
    compare(what + " inverse deviation", floats(inverse, inverse + g.k),
            doubles(inverse_expected, inverse_expected + g.k), AVEDIS_F32);
    compare(what + " dweight", dw, doubles_of(dw_expected), AVEDIS_F32);
    compare(what + " dgamma", dgamma, doubles_of(dgamma_expected), AVEDIS_F32);
    compare(what + " dbeta", dbeta, doubles_of(dbeta_expected), AVEDIS_F32);
    floats y_evaluated(y_count);
    activations evaluated(y_count, type, false);
    check(avedis_stem_inference(evaluated.data(), x.data(), weight.data(), gamma.data(), beta.data(), running, variance,
                                type, &g, &pool, 1e-5f, 1),
          "stem inference");
    check(avedis_batch_norm_inference(y_evaluated.data(), z.data(), gamma.data(), beta.data(), running, variance,
                                      AVEDIS_F32, int64_t(z_count) / g.k, g.k, &pool, 1e-5f, 1),
          "batch norm inference");
    compare(what + " inference", evaluated.results(), doubles_of(y_evaluated), type);
}
