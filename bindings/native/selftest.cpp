// Every operation of libavedis_cpu.so against plain loops in double, on small shapes, float and bfloat16, plus equal
// bits on a second run. For anybody who brings the library to another machine, compiler or oneDNN: ctest --test-dir
// artifacts/cmake
#include "selftest.h"

namespace {

void test_linear(int32_t type) {
    int n = 5, in = 37, out = 13;
    activations x(n * in, type, true), dy(n * out, type, true), y(n * out, type, false), dx(n * in, type, false);
    floats weight = random_floats(in * out), bias = random_floats(out), dw = random_floats(in * out),
           db = random_floats(out);
    doubles y_expected(n * out), dx_expected(n * in), dw_expected(dw.begin(), dw.end()),
        db_expected(db.begin(), db.end());
    for (int row = 0; row < n; row++)
        for (int o = 0; o < out; o++) {
            y_expected[row * out + o] += bias[o];
            db_expected[o] += dy.values[row * out + o];
            for (int i = 0; i < in; i++) {
                y_expected[row * out + o] += double(x.values[row * in + i]) * weight[o * in + i];
                dx_expected[row * in + i] += double(dy.values[row * out + o]) * weight[o * in + i];
                dw_expected[o * in + i] += double(dy.values[row * out + o]) * x.values[row * in + i];
            }
        }
    std::string what = std::string("linear ") + name_of(type);
    check(avedis_linear_forward(y.data(), x.data(), weight.data(), bias.data(), type, n, in, out), "linear forward");
    compare(what + " forward", y.results(), y_expected, type);
    check(avedis_linear_backward_data(dx.data(), dy.data(), weight.data(), type, n, in, out), "linear backward data");
    compare(what + " backward data", dx.results(), dx_expected, type);
    check(avedis_linear_backward_weight(dw.data(), db.data(), dy.data(), x.data(), type, n, in, out),
          "linear backward weight");
    compare(what + " backward weight", dw, dw_expected, AVEDIS_F32);
    compare(what + " backward bias", db, db_expected, AVEDIS_F32);
}

// Batch normalisation, ReLU and, if asked, pooling: forward and backward; without normalisation: max pooling alone.
void test_pool(const avedis_pool2d_geometry& g, int32_t type, bool normalise, bool relu, bool pool) {
    int p = pool ? (g.h + 2 * g.pad_h - g.r) / g.stride_h + 1 : g.h;
    int q = pool ? (g.w + 2 * g.pad_w - g.s) / g.stride_w + 1 : g.w;
    size_t rows = size_t(g.n) * g.h * g.w, x_count = rows * g.c, y_count = size_t(g.n) * p * q * g.c;
    activations x(x_count, type, true), dy(y_count, type, true), y(y_count, type, false), dx(x_count, type, false);
    floats gamma = random_floats(g.c), beta = random_floats(g.c), dgamma(g.c), dbeta(g.c);
    doubles mean(g.c), inverse_std(g.c, 1), z(x_count), dz(x_count), y_expected(y_count), dx_expected(x_count),
        dgamma_expected(g.c), dbeta_expected(g.c);
    std::vector<uint8_t> argmax(y_count);
    floats mean_actual(g.c), inverse_std_actual(g.c), running_mean(g.c, 0.5f), running_variance(g.c, 2);
    doubles running_mean_expected(g.c), running_variance_expected(g.c);
    const double epsilon = 1e-5, momentum = 0.1;
    for (int c = 0; c < g.c && normalise; c++) {
        double square = 0;
        for (size_t i = 0; i < rows; i++) mean[c] += x.values[i * g.c + c] / double(rows);
        for (size_t i = 0; i < rows; i++) square += std::pow(x.values[i * g.c + c] - mean[c], 2);
        inverse_std[c] = 1 / std::sqrt(square / double(rows) + epsilon);
        running_mean_expected[c] = (1 - momentum) * 0.5 + momentum * mean[c];
        running_variance_expected[c] = (1 - momentum) * 2 + momentum * square / double(rows - 1);
    }
    for (size_t i = 0; i < x_count; i++) {
        size_t c = i % g.c;
        z[i] = normalise ? (x.values[i] - mean[c]) * inverse_std[c] * gamma[c] + beta[c] : x.values[i];
    }
    for (size_t out = 0; out < y_count; out++) {
        int c = int(out % g.c), j = int(out / g.c % q), i = int(out / g.c / q % p), n = int(out / g.c / q / p);
        size_t winner = out;
        double best = -INFINITY;
        for (int r = 0; r < g.r && pool; r++)
            for (int s = 0; s < g.s; s++) {
                int h = i * g.stride_h - g.pad_h + r, w = j * g.stride_w - g.pad_w + s;
                if (h < 0 || h >= g.h || w < 0 || w >= g.w) continue;
                size_t in = ((size_t(n) * g.h + h) * g.w + w) * g.c + c;
                if (z[in] > best) best = z[winner = in];
            }
        y_expected[out] = relu ? std::max(z[winner], 0.0) : z[winner];
        if (!relu || z[winner] > 0) dz[winner] += dy.values[out];
    }
    for (size_t i = 0; i < x_count && normalise; i++) {
        size_t c = i % g.c;
        dbeta_expected[c] += dz[i];
        dgamma_expected[c] += dz[i] * (x.values[i] - mean[c]) * inverse_std[c];
    }
    for (size_t i = 0; i < x_count; i++) {
        size_t c = i % g.c;
        double xhat = (x.values[i] - mean[c]) * inverse_std[c];
        dx_expected[i] = normalise
                             ? gamma[c] * inverse_std[c] *
                                   (dz[i] - dbeta_expected[c] / double(rows) - xhat * dgamma_expected[c] / double(rows))
                             : dz[i];
    }

    std::string what = std::string(normalise ? "batch norm " : "max pool ") + name_of(type) + (relu ? " relu" : "") +
                       (normalise && pool ? " pool" : "") + " c=" + std::to_string(g.c);
    if (!normalise) {
        check(avedis_max_pool_forward(y.data(), argmax.data(), x.data(), type, &g), "max pool forward");
        compare(what + " forward", y.results(), y_expected, type);
        check(avedis_max_pool_backward(dx.data(), dy.data(), argmax.data(), type, &g), "max pool backward");
        compare(what + " backward", dx.results(), dx_expected, type);
        return;
    }
    const avedis_pool2d_geometry* geometry = pool ? &g : nullptr;
    check(avedis_batch_norm_forward(y.data(), pool ? argmax.data() : nullptr, mean_actual.data(),
                                    inverse_std_actual.data(), running_mean.data(), running_variance.data(), x.data(),
                                    nullptr, 0, int64_t(rows), gamma.data(), beta.data(), type, int64_t(rows), g.c,
                                    geometry, float(epsilon), float(momentum), relu),
          "batch norm forward");
    compare(what + " forward", y.results(), y_expected, type);
    compare(what + " inverse std", inverse_std_actual, inverse_std, AVEDIS_F32);
    compare(what + " running mean", running_mean, running_mean_expected, AVEDIS_F32);
    compare(what + " running variance", running_variance, running_variance_expected, AVEDIS_F32);
    check(avedis_batch_norm_backward(dx.data(), dgamma.data(), dbeta.data(), dy.data(), pool ? argmax.data() : nullptr,
                                     x.data(), gamma.data(), beta.data(), mean_actual.data(), inverse_std_actual.data(),
                                     type, int64_t(rows), g.c, geometry, relu),
          "batch norm backward");
    compare(what + " backward", dx.results(), dx_expected, type);
    compare(what + " gamma", dgamma, dgamma_expected, AVEDIS_F32);
    compare(what + " beta", dbeta, dbeta_expected, AVEDIS_F32);

    // evaluation mode with the batch's own statistics gives the same picture
    floats variance(g.c);
    for (int c = 0; c < g.c; c++) variance[c] = float(1 / (inverse_std[c] * inverse_std[c]) - epsilon);
    check(avedis_batch_norm_inference(y.data(), x.data(), gamma.data(), beta.data(), mean_actual.data(),
                                      variance.data(), type, int64_t(rows), g.c, geometry, float(epsilon), relu),
          "batch norm inference");
    compare(what + " inference", y.results(), y_expected, type);
}

void test_masked_mean(int32_t type) {
    int n = 3, t = 7, c = 11;
    int32_t lengths[] = {7, 1, 4};
    activations x(n * t * c, type, true), dx(n * t * c, type, false);
    floats y(n * c), dy = random_floats(n * c);
    doubles y_expected(n * c), dx_expected(n * t * c);
    for (int i = 0; i < n; i++)
        for (int step = 0; step < lengths[i]; step++)
            for (int k = 0; k < c; k++) {
                y_expected[i * c + k] += double(x.values[(i * t + step) * c + k]) / lengths[i];
                dx_expected[(i * t + step) * c + k] = double(dy[i * c + k]) / lengths[i];
            }
    std::string what = std::string("masked mean ") + name_of(type);
    check(avedis_masked_mean_forward(y.data(), x.data(), lengths, type, n, t, c), "masked mean forward");
    compare(what + " forward", y, y_expected, AVEDIS_F32);
    check(avedis_masked_mean_backward(dx.data(), dy.data(), lengths, type, n, t, c), "masked mean backward");
    compare(what + " backward", dx.results(), dx_expected, type);
}

void test_losses() {
    int n = 4, c = 9;
    floats logits = random_floats(n * c), weights = {0.5f, 0.25f, 0.25f, 0}, loss(n), p(n * c), gradient(n * c);
    int32_t labels[] = {0, 8, 3, -1};
    const float scale = 0.7f;
    doubles p_expected(n * c), loss_expected(n), gradient_expected(n * c), confusion(n), confusion_gradient(n * c),
        kl_expected(n);
    for (int i = 0; i < n; i++) {
        double sum = 0;
        for (int j = 0; j < c; j++) sum += std::exp(double(logits[i * c + j]));
        for (int j = 0; j < c; j++) {
            size_t at = i * c + j;
            p_expected[at] = std::exp(double(logits[at])) / sum;
            gradient_expected[at] = scale * weights[i] * (p_expected[at] - (j == labels[i] ? 1 : 0));
            if (j == labels[i]) loss_expected[i] = -weights[i] * std::log(p_expected[at]);
            confusion[i] -= weights[i] * std::log(p_expected[at]) / c;
            confusion_gradient[at] = scale * weights[i] * (p_expected[at] - 1.0 / c);
        }
        kl_expected[i] = confusion[i] - weights[i] * std::log(double(c));
    }
    check(avedis_softmax_cross_entropy(loss.data(), p.data(), gradient.data(), logits.data(), labels, weights.data(),
                                       scale, n, c),
          "softmax cross-entropy");
    compare("softmax cross-entropy", loss, loss_expected, AVEDIS_F32);
    compare("softmax cross-entropy probabilities", p, p_expected, AVEDIS_F32);
    compare("softmax cross-entropy gradient", gradient, gradient_expected, AVEDIS_F32);
    floats kl(n);
    check(avedis_uniform_confusion(loss.data(), kl.data(), gradient.data(), logits.data(), weights.data(), scale, n, c),
          "uniform confusion");
    compare("uniform confusion divergence", kl, kl_expected, AVEDIS_F32);
    compare("uniform confusion", loss, confusion, AVEDIS_F32);
    compare("uniform confusion gradient", gradient, confusion_gradient, AVEDIS_F32);
}

void test_elementwise(int32_t type) {
    size_t count = 40001;  // several ranges and a tail
    activations x(count, type, true), dy(count, type, true), y(count, type, false), dx(count, type, false);
    std::vector<uint8_t> bytes(count);
    doubles relu(count), relu_gradient(count), reversed(count), pixels(count), converted(count);
    for (size_t i = 0; i < count; i++) {
        bytes[i] = uint8_t(i * 7);
        relu[i] = std::max(x.values[i], 0.0f);
        relu_gradient[i] = x.values[i] > 0 ? dy.values[i] : 0;
        reversed[i] = -0.5 * dy.values[i];
        pixels[i] = 2 / 255.0 * bytes[i] - 1;
        converted[i] = x.values[i];
    }
    std::string what = name_of(type);
    const float lambda = 0.5f;
    check(avedis_relu_forward(y.data(), x.data(), type, count), "relu forward");
    compare("relu forward " + what, y.results(), relu, type);
    check(avedis_relu_backward(dx.data(), dy.data(), y.data(), type, count), "relu backward");
    compare("relu backward " + what, dx.results(), relu_gradient, type);
    check(avedis_gradient_reversal_backward(dx.data(), dy.data(), &lambda, type, count), "gradient reversal");
    compare("gradient reversal " + what, dx.results(), reversed, type);
    check(avedis_normalise(y.data(), type, bytes.data(), count, 2 / 255.0f, -1), "normalise");
    compare("normalise " + what, y.results(), pixels, type);
    activations other(count, type == AVEDIS_F32 ? AVEDIS_BF16 : AVEDIS_F32, false);
    check(avedis_convert(other.data(), x.data(), type, count), "convert");
    compare("convert from " + what, other.results(), converted, AVEDIS_BF16);
    check(avedis_copy(y.data(), x.data(), count * (type == AVEDIS_BF16 ? 2 : 4)), "copy");
    compare("copy " + what, y.results(), converted, AVEDIS_F32);
}

void test_augment(int32_t type) {
    const int n = 2, frames = 3, size = 19, bins = 5, steps = 23;
    avedis_augment_plan plans[n] = {};
    plans[1] = {1, -2, 3, 1, 128, 4, 11, 0.5f, -9, {{1, 1}, {0, 0}}, {{2, 3}, {4, 2}}};
    std::vector<uint8_t> bytes(n * frames * size * size);
    doubles pixels(bytes.size()), expected(n * bins * steps);
    for (size_t i = 0; i < bytes.size(); i++) bytes[i] = uint8_t(i * 7);
    for (int i = 0; i < int(bytes.size()); i++) {
        int column = i % size, row = i / size % size, frame = i / (size * size) % frames,
            clip = i / (size * size * frames);
        if (clip == 1) {
            column = std::min(size - 1 - column + 3, size - 1);
            row = std::max(row - 2, 0);
            frame++;
        }
        pixels[i] =
            2 / 255.0 * (frame < frames ? bytes[((clip * frames + frame) * size + row) * size + column] : 128) - 1;
    }
    floats x = random_floats(expected.size());
    for (int i = 0; i < int(x.size()); i++) {
        int t = i % steps, bin = i / steps % bins;
        bool silent = bin == 1 || t >= steps - 4 || (t >= 2 && t < 6);
        expected[i] = i < bins * steps ? x[i] : silent ? -9 : x[i + 4] + (t < 11 ? 0.5 : 0);
    }
    std::string what = name_of(type);
    activations faces(pixels.size(), type, false), mels(expected.size(), type, false);
    check(avedis_augment_faces(faces.data(), type, bytes.data(), plans, n, frames, size, 2 / 255.0f, -1),
          "augment faces");
    compare("augment faces " + what, faces.results(), pixels, type);
    check(avedis_augment_mels(mels.data(), type, x.data(), plans, n, bins, steps), "augment mels");
    compare("augment mels " + what, mels.results(), expected, type);
}

void test_flat() {
    size_t count = 40001;
    floats y = random_floats(count), x = random_floats(count);
    doubles sum(count);
    for (size_t i = 0; i < count; i++) sum[i] = double(y[i]) + x[i];
    check(avedis_add(y.data(), x.data(), count), "add");
    compare("add", y, sum, AVEDIS_F32);

    const float lambda = 0.5f;
    for (size_t i = 0; i < count; i++) sum[i] = y[i] - 0.5 * x[i];
    check(avedis_gradient_reversal_add(y.data(), x.data(), &lambda, count), "gradient reversal add");
    compare("gradient reversal add", y, sum, AVEDIS_F32);

    const int32_t offsets[] = {0, 3, 20003, 39001, 40001};  // three segments: what lies behind them stays
    const float alpha = 0.25f;
    floats primary = random_floats(count), adversary = random_floats(count);
    std::fill(adversary.begin(), adversary.begin() + 3, 0.0f);
    doubles projected(primary.begin(), primary.end());
    for (int s = 1; s < 3; s++) {
        double product = 0, square = 0;
        for (int i = offsets[s]; i < offsets[s + 1]; i++) {
            product += double(primary[i]) * adversary[i];
            square += double(adversary[i]) * adversary[i];
        }
        for (int i = offsets[s]; i < offsets[s + 1]; i++) projected[i] -= (product / square + alpha) * adversary[i];
    }
    check(avedis_gradient_projection(primary.data(), adversary.data(), offsets, &alpha, 3), "gradient projection");
    compare("gradient projection", primary, projected, AVEDIS_F32);

    int32_t non_finite = 0;
    x[0] = INFINITY;
    x[20000] = x[count - 1] = NAN;
    check(avedis_count_non_finite(&non_finite, x.data(), AVEDIS_F32, count), "count non-finite");
    compare("count non-finite", {float(non_finite)}, {3}, AVEDIS_F32);

    floats a = random_floats(6), b = random_floats(4), both(10), da(6), db(4);
    check(avedis_concat_forward(both.data(), a.data(), b.data(), 2, 3, 2), "concat forward");
    compare("concat forward", both, {a[0], a[1], a[2], b[0], b[1], a[3], a[4], a[5], b[2], b[3]}, AVEDIS_F32);
    check(avedis_concat_backward(da.data(), db.data(), both.data(), 2, 3, 2), "concat backward");
    compare("concat backward a", da, doubles(a.begin(), a.end()), AVEDIS_F32);
    compare("concat backward b", db, doubles(b.begin(), b.end()), AVEDIS_F32);

    floats p = random_floats(count), g = random_floats(count), m = random_floats(count), v(count, 0.3f);
    const float schedule[] = {1e-2f, 0.19f, 0.002f};
    doubles p_expected(count), m_expected(count), v_expected(count);
    for (size_t i = 0; i < count; i++) {
        m_expected[i] = 0.9 * m[i] + 0.1 * g[i];
        v_expected[i] = 0.999 * v[i] + 0.001 * g[i] * g[i];
        p_expected[i] =
            p[i] - schedule[0] * m_expected[i] / schedule[1] / (std::sqrt(v_expected[i] / schedule[2]) + 1e-8);
    }
    check(avedis_adam(p.data(), g.data(), m.data(), v.data(), schedule, 0.9f, 0.999f, 1e-8f, count), "adam");
    compare("adam parameters", p, p_expected, AVEDIS_F32);
    compare("adam m", m, m_expected, AVEDIS_F32);
    compare("adam v", v, v_expected, AVEDIS_F32);
    compare("adam clears gradients", g, doubles(count), AVEDIS_F32);
}

}  // namespace

int main() {
    std::printf("oneDNN %s, %s\n", avedis_onednn_version(), avedis_instruction_set());
    check(avedis_set_threads(2), "set threads");
    for (int32_t type : {AVEDIS_F32, AVEDIS_BF16}) {
        test_conv2d({2, 20, 22, 1, 24, 7, 7, 2, 2, 0, 0}, type);   // first layer, face
        test_conv2d({2, 9, 150, 1, 48, 5, 7, 1, 1, 2, 2}, type);   // first layer, voice
        test_conv2d({2, 9, 11, 1, 7, 3, 3, 1, 1, 1, 1}, type);     // one channel, odd number of outputs
        test_conv2d({2, 14, 14, 24, 64, 5, 5, 2, 2, 1, 1}, type);  // strides in both directions
        test_conv2d({2, 11, 17, 24, 64, 5, 5, 2, 1, 1, 1}, type);  // stride in one
        test_conv2d({2, 9, 12, 64, 96, 3, 3, 1, 1, 1, 1}, type);
        test_conv2d({2, 9, 12, 64, 96, 3, 3, 1, 1, 1, 1}, type, AVEDIS_CONV2D_DIRECT);
        test_conv2d({3, 13, 10, 24, 40, 3, 3, 1, 1, 1, 1}, type);  // tiles of four and three outputs
        test_conv2d({2, 8, 7, 5, 11, 3, 2, 1, 2, 1, 0}, type);     // odd channels
        test_conv2d({3, 4, 9, 32, 48, 4, 1, 1, 1, 0, 0}, type);    // all rows
        test_conv2d({5, 3, 3, 16, 24, 3, 3, 1, 1, 0, 0}, type);    // the whole image
        test_stem({2, 21, 40, 1, 24, 7, 7, 2, 2, 0, 0}, {2, 8, 17, 24, 3, 3, 2, 2, 0, 0}, type);  // face
        test_stem({2, 6, 75, 1, 96, 5, 7, 1, 1, 2, 2}, {2, 6, 73, 96, 1, 3, 1, 2, 0, 0}, type);   // voice
        test_stem({2, 11, 9, 3, 33, 3, 3, 1, 2, 1, 1}, {2, 11, 5, 33, 3, 3, 2, 1, 1, 1},
                  type);  // padded windows, colours
        test_linear(type);
        test_masked_mean(type);
        test_elementwise(type);
        test_augment(type);
        for (int c : {24, 13}) {
            avedis_pool2d_geometry overlapping{3, 11, 14, c, 3, 3, 2, 2, 1, 1}, wide{2, 6, 40, c, 1, 3, 1, 2, 0, 0};
            for (const auto& g : {overlapping, wide}) {
                test_pool(g, type, false, false, true);
                test_pool(g, type, true, true, true);
                test_pool(g, type, true, false, true);
            }
            test_pool(overlapping, type, true, true, false);
            test_pool(overlapping, type, true, false, false);
        }
    }
    test_losses();
    test_flat();
    std::printf(failures ? "%d comparisons failed\n" : "all good\n", failures);
    return failures ? 1 : 0;
}
