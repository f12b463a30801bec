//===- PeakAMX.cpp - What tile registers could do at most -----------------===//
#include "Twins.h"

#include <immintrin.h>

namespace {
/// Intel SDM volume 1, 18.3: the operand of LDTILECFG.
struct alignas(64) TileConfig {
  uint8_t palette = 1, startRow = 0, reserved[14] = {};
  uint16_t columnBytes[16] = {};
  uint8_t rows[16] = {};
};
} // namespace

double qc::bench::spinInt8AMX(int64_t repeats) {
  TileConfig config;
  for (int tile = 0; tile < 8; ++tile) {
    config.columnBytes[tile] = 64;
    config.rows[tile] = 16;
  }
  // Volatile: the whole of it is read, not the pointer's first bytes.
  asm volatile("ldtilecfg %0" ::"m"(config));
  // Four sums: a product takes 52 cycles, one can begin every 16.
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  for (int64_t i = 0; i < repeats; ++i) {
    _tile_dpbssd(0, 4, 5);
    _tile_dpbssd(1, 4, 5);
    _tile_dpbssd(2, 4, 5);
    _tile_dpbssd(3, 4, 5);
  }
  _tile_release();
  return static_cast<double>(repeats) * 4 * 16 * 16 * 64 * 2;
}
