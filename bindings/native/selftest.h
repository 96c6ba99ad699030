// What the parts of the self test share.
#pragma once

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "avedis_cpu.h"

using doubles = std::vector<double>;
using floats = std::vector<float>;

inline int failures = 0;

inline void check(int32_t status, const char* what) {
    if (status == AVEDIS_OK) return;
    std::printf("FAILED %s: %s\n", what, avedis_last_error());
    std::exit(1);
}

inline float next_value() {
    static uint32_t state = 12345;
    state = state * 1664525 + 1013904223;
    return static_cast<float>(state >> 8) / static_cast<float>(1 << 23) - 1;
}

inline float rounded_to_bf16(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    bits = (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000;
    std::memcpy(&x, &bits, 4);
    return x;
}

// Activations in the type under test, with their exact values beside them.
struct activations {
    activations(size_t count, int32_t type, bool random) : type(type), values(count), memory(count * 4) {
        for (auto& value : values) value = random ? next_value() : 0;
        for (size_t i = 0; i < count; i++) {
            if (type == AVEDIS_BF16) values[i] = rounded_to_bf16(values[i]);
            uint32_t bits;
            std::memcpy(&bits, &values[i], 4);
            auto upper = static_cast<uint16_t>(bits >> 16);
            if (type == AVEDIS_BF16)
                std::memcpy(memory.data() + 2 * i, &upper, 2);
            else
                std::memcpy(memory.data() + 4 * i, &bits, 4);
        }
    }

    void* data() { return memory.data(); }

    float result(size_t i) const {
        uint32_t bits;
        if (type == AVEDIS_BF16) {
            uint16_t upper;
            std::memcpy(&upper, memory.data() + 2 * i, 2);
            bits = static_cast<uint32_t>(upper) << 16;
        } else {
            std::memcpy(&bits, memory.data() + 4 * i, 4);
        }
        float value;
        std::memcpy(&value, &bits, 4);
        return value;
    }

    floats results() const {
        floats all(values.size());
        for (size_t i = 0; i < all.size(); i++) all[i] = result(i);
        return all;
    }

    int32_t type;
    floats values;
    std::vector<char> memory;
};

inline floats random_floats(size_t count) {
    floats x(count);
    for (auto& value : x) value = next_value();
    return x;
}

// Error relative to the largest expected magnitude. bfloat16 keeps 8 bits: half a step is 2^-9 of the value.
inline void compare(const std::string& what, const floats& actual, const doubles& expected, int32_t type) {
    double error = 0, largest = 0;
    for (size_t i = 0; i < expected.size(); i++) {
        double difference = std::abs(actual[i] - expected[i]);
        if (!(difference <= error)) error = difference;  // a NaN stays
        largest = std::max(largest, std::abs(expected[i]));
    }
    double tolerance = type == AVEDIS_BF16 ? 6e-3 : 1e-5;
    bool good = error <= tolerance * largest;
    if (!good) failures++;
    std::printf("%-6s %-52s %.1e of %.1e\n", good ? "ok" : "FAILED", what.c_str(), error, largest);
}

inline void expect_same_bits(const std::string& what, const void* a, const void* b, size_t bytes) {
    if (std::memcmp(a, b, bytes) == 0) return;
    failures++;
    std::printf("FAILED %s: a second run gave other bits\n", what.c_str());
}

inline const char* name_of(int32_t type) {
    return type == AVEDIS_BF16 ? "bf16" : "f32";
}

// selftest_conv2d.cpp
void test_conv2d(const avedis_conv2d_geometry& g, int32_t type, int32_t algorithm = AVEDIS_CONV2D_AUTO);
void test_stem(const avedis_conv2d_geometry& g, const avedis_pool2d_geometry& pool, int32_t type);
