//===- Main.cpp - Micro benchmarks of generated kernels -------------------===//
//
//   qc-bench-kernels [--benchmark_filter=REGEX] [--benchmark_format=json]
//
// peak/*      the machine: streaming read, int8 dot products
// gemv/*      one token: `share` of a streaming read, measured just before
// gemm/*      4, 16, 128 tokens: `share` of the int8 peak, measured just before
// twin/*      hand-written twins of both, and what they are compared with
// attention/*, rms_norm/*
// onednn/*    the same shape by oneDNN, where CMake found it
//
// The generated kernels are those of include/qc/Target/CPU/Tuning/KernelJIT.h,
// which the tests check.
//
//===----------------------------------------------------------------------===//
#include "Bench.h"

#include "llvm/Support/TargetSelect.h"
#include <benchmark/benchmark.h>

int main(int argc, char **argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv))
    return 2;
  qc::bench::registerPeaks();
  qc::bench::registerMatmuls();
  qc::bench::registerSteps();
#ifdef QC_BENCH_ONEDNN
  qc::bench::registerOneDNN();
#endif
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
