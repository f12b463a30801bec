//===- AMXTrap.cpp - AMX instructions on CPUs without them ----------------===//
//
// Encodings and operation: Intel SDM volume 2, LDTILECFG, TILELOADD,
// TILESTORED, TILEZERO, TILERELEASE, TDPBSSD/SUD/USD/UUD,
// TDPBF16PS.
//
//===----------------------------------------------------------------------===//
#include "AMXTrap.h"
#include "qc/Runtime/Evaluate/TileRegisters.h"

#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ucontext.h>

namespace {

struct Tile {
  int rows = 0, columnBytes = 0; ///< 0: not configured
  uint8_t data[16][64] = {};
};

thread_local Tile tiles[8];
thread_local bool configured = false;
int64_t numTrapped = 0;

[[noreturn]] void die(const char *what, const uint8_t *at) {
  std::fprintf(stderr, "AMX emulation: %s at", what);
  for (int i = 0; i < 9; ++i)
    std::fprintf(stderr, " %02x", at[i]);
  std::fprintf(stderr, "\n");
  std::abort();
}

/// One VEX-encoded instruction of map 0F38, W0, L0.
class Instruction {
public:
  Instruction(const uint8_t *code, const greg_t *registers)
      : code(code), registers(registers) {
    // C4 RXB.mmmmm W.vvvv.L.pp opcode ModRM
    if (code[0] != 0xc4 || (code[1] & 0x1f) != 2 || (code[2] & 0x84) != 0)
      die("unknown instruction", code);
    extend[0] = code[1] & 0x20 ? 0 : 8; // base
    extend[1] = code[1] & 0x40 ? 0 : 8; // index
    vvvv = ~(code[2] >> 3) & 15;
    prefix = code[2] & 3;
    opcode = code[3];
    mod = code[4] >> 6;
    reg = code[4] >> 3 & 7;
    rm = code[4] & 7;
    length = 5;
    if (mod != 3)
      decodeAddress();
  }
  void execute();

  int length;

private:
  enum Prefix { NP, P66, F3, F2 };

  int64_t general(int number) const {
    static const int order[] = {
        REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
        REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    return registers[order[number]];
  }
  void decodeAddress() {
    int base = rm;
    hasSIB = rm == 4;
    if (hasSIB) {
      uint8_t sib = code[length++];
      base = sib & 7;
      int index = (sib >> 3 & 7) | extend[1];
      if (index != 4)
        stride = general(index) << (sib >> 6);
    }
    if (mod == 0 && base == 5) {
      if (!hasSIB)
        die("address relative to rip", code);
      int32_t displacement;
      std::memcpy(&displacement, code + length, 4);
      length += 4;
      address = displacement;
      return;
    }
    address = general(base | extend[0]);
    if (mod == 1) {
      address += static_cast<int8_t>(code[length]);
      length += 1;
    } else if (mod == 2) {
      int32_t displacement;
      std::memcpy(&displacement, code + length, 4);
      length += 4;
      address += displacement;
    }
  }
  Tile &tile(int number) {
    if (!configured || number > 7 || tiles[number].rows == 0)
      die("tile is not configured", code);
    return tiles[number];
  }
  uint8_t *row(int m) const {
    return reinterpret_cast<uint8_t *>(address + m * stride);
  }
  void configure();
  void load(Tile &to);
  void multiply();
  void multiplyBF16();

  const uint8_t *code;
  const greg_t *registers;
  int extend[2], vvvv, prefix, opcode, mod, reg, rm;
  bool hasSIB = false;
  int64_t address = 0, stride = 0;
};

} // namespace

void Instruction::configure() {
  // palette, start row, 14 reserved, 16 x colsb (u16), 16 x rows (u8)
  const auto *memory = reinterpret_cast<const uint8_t *>(address + stride);
  if (memory[0] != 1)
    die("palette is not 1", code);
  for (int i = 1; i < 16; ++i)
    if (memory[i])
      die("start row or reserved bytes of the configuration", code);
  for (int t = 0; t < 16; ++t) {
    uint16_t columnBytes;
    std::memcpy(&columnBytes, memory + 16 + 2 * t, 2);
    int rows = memory[48 + t];
    if (columnBytes > 64 || rows > 16 || (t > 7 && (columnBytes || rows)) ||
        (columnBytes == 0) != (rows == 0))
      die("sizes of the configuration", code);
    if (t > 7)
      continue;
    tiles[t] = Tile();
    tiles[t].rows = rows;
    tiles[t].columnBytes = columnBytes;
  }
  configured = true;
}

void Instruction::load(Tile &to) {
  std::memset(to.data, 0, sizeof to.data);
  for (int m = 0; m < to.rows; ++m)
    std::memcpy(to.data[m], row(m), static_cast<size_t>(to.columnBytes));
}

void Instruction::multiply() {
  Tile &c = tile(reg), &a = tile(rm), &b = tile(vvvv);
  if (reg == rm || reg == vvvv || rm == vvvv)
    die("operands are not distinct", code);
  if (c.rows != a.rows || c.columnBytes != b.columnBytes ||
      a.columnBytes != 4 * b.rows || c.columnBytes % 4 || a.columnBytes % 4)
    die("sizes of the operands do not fit", code);
  bool signedA = prefix == F2 || prefix == F3;
  bool signedB = prefix == F2 || prefix == P66;
  auto value = [](uint8_t byte, bool isSigned) {
    return isSigned ? static_cast<int8_t>(byte) : static_cast<int>(byte);
  };
  for (int m = 0; m < c.rows; ++m)
    for (int n = 0; n < c.columnBytes / 4; ++n) {
      uint32_t sum;
      std::memcpy(&sum, &c.data[m][4 * n], 4);
      for (int k = 0; k < a.columnBytes / 4; ++k)
        for (int j = 0; j < 4; ++j)
          sum += static_cast<uint32_t>(value(a.data[m][4 * k + j], signedA) *
                                       value(b.data[k][4 * n + j], signedB));
      std::memcpy(&c.data[m][4 * n], &sum, 4);
    }
}

void Instruction::multiplyBF16() {
  Tile &c = tile(reg), &a = tile(rm), &b = tile(vvvv);
  if (reg == rm || reg == vvvv || rm == vvvv)
    die("operands are not distinct", code);
  if (c.rows != a.rows || c.columnBytes != b.columnBytes ||
      a.columnBytes != 4 * b.rows || c.columnBytes % 4 || a.columnBytes % 4)
    die("sizes of the operands do not fit", code);
  auto flush = [](float f) {
    return std::fpclassify(f) == FP_SUBNORMAL ? 0 : f;
  };
  auto value = [&](const uint8_t *data) {
    uint16_t half;
    std::memcpy(&half, data, 2);
    uint32_t bits = static_cast<uint32_t>(half) << 16;
    float f;
    std::memcpy(&f, &bits, 4);
    return flush(f);
  };
  for (int m = 0; m < c.rows; ++m)
    for (int n = 0; n < c.columnBytes / 4; ++n) {
      float parts[2] = {}, sum;
      for (int k = 0; k < a.columnBytes / 4; ++k)
        for (int j = 0; j < 2; ++j)
          parts[j] =
              flush(std::fma(value(&a.data[m][4 * k + 2 * j]),
                             value(&b.data[k][4 * n + 2 * j]), parts[j]));
      std::memcpy(&sum, &c.data[m][4 * n], 4);
      sum = flush(flush(sum) + flush(parts[0] + parts[1]));
      std::memcpy(&c.data[m][4 * n], &sum, 4);
    }
}

void Instruction::execute() {
  if (opcode == 0x5c && mod == 3 && prefix == F3)
    return multiplyBF16();
  if (opcode == 0x5e && mod == 3)
    return multiply();
  if (opcode == 0x4b && hasSIB && (prefix == F2 || prefix == P66))
    return load(tile(reg));
  if (opcode == 0x4b && hasSIB && prefix == F3) {
    Tile &from = tile(reg);
    for (int m = 0; m < from.rows; ++m)
      std::memcpy(row(m), from.data[m], static_cast<size_t>(from.columnBytes));
    return;
  }
  if (opcode == 0x49 && mod == 3 && prefix == F2 && rm == 0) {
    std::memset(tile(reg).data, 0, sizeof(Tile::data));
    return;
  }
  if (opcode == 0x49 && mod == 3 && prefix == NP && code[4] == 0xc0) {
    configured = false;
    return;
  }
  if (opcode == 0x49 && mod != 3 && prefix == NP && reg == 0)
    return configure();
  die("unknown instruction", code);
}

static void onFault(int, siginfo_t *, void *context) {
  auto *registers = static_cast<ucontext_t *>(context)->uc_mcontext.gregs;
  Instruction instruction(reinterpret_cast<const uint8_t *>(registers[REG_RIP]),
                          registers);
  instruction.execute();
  registers[REG_RIP] += instruction.length;
  ++numTrapped;
}

static bool hasAMX() {
  static const bool has = qc::requestTileRegisters();
  return has;
}

bool qc::test::trapsAMX() { return !hasAMX(); }
int64_t qc::test::numTrappedAMX() { return numTrapped; }

void qc::test::enableAMX() {
  if (hasAMX())
    return;
  struct sigaction action = {};
  action.sa_sigaction = onFault;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGILL, &action, nullptr);
}
