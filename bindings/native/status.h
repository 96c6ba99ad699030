// Turns exceptions into a status and a text at the boundary of the library, and a type code into a type.
#pragma once

#include <exception>
#include <new>
#include <oneapi/dnnl/dnnl.hpp>

#include "avedis_cpu.h"
#include "vector.h"

namespace avedis {

// Keeps the text for avedis_last_error; returns status.
int32_t failed(int32_t status, const char* text);

template <class Body>
int32_t guarded(Body body) noexcept {
    try {
        body();
        return AVEDIS_OK;
    } catch (const std::bad_alloc&) {
        return failed(AVEDIS_OUT_OF_MEMORY, "out of memory");
    } catch (const dnnl::error& error) {
        return failed(error.status == dnnl_out_of_memory ? AVEDIS_OUT_OF_MEMORY : AVEDIS_FAILED, error.what());
    } catch (const std::exception& error) {
        return failed(AVEDIS_FAILED, error.what());
    }
}

// body(zero) with a zero of the activation type.
template <class Body>
int32_t guarded(int32_t type, Body body) noexcept {
    return guarded([&] {
        if (type == AVEDIS_BF16)
            body(bf16{});
        else
            body(float{});
    });
}

}  // namespace avedis
