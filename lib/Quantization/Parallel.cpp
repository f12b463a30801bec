//===- Parallel.cpp - Threads over rows -----------------------------------===//
#include "Encode/Parallel.h"
#include "qc/Quantization/Quantizer.h"

void qc::QuantizeContext::forRows(
    int64_t n, const std::function<void(int64_t, int64_t)> &body) const {
  constexpr int64_t rowsAtATime = 32;
  parallelChunks(static_cast<int>(numThreads), n, rowsAtATime, body);
}
