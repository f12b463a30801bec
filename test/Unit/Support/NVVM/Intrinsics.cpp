//===- Intrinsics.cpp - What llvm.nvvm.* calls compute --------------------===//
//
// Definitions after the PTX ISA: "Data Movement and Conversion: shfl.sync",
// "ldmatrix", "cp.async"; "Parallel Synchronization: vote.sync, redux.sync,
// bar.warp.sync, barrier"; "Warp Level Matrix Multiply-Accumulate: mma".
//
//===----------------------------------------------------------------------===//
#include "Block.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

using namespace qc::test::nvvm;

static uint32_t word(Slots slots, int index) {
  return static_cast<uint32_t>(slots[index]);
}

static float asFloat(uint32_t bits) { return std::bit_cast<float>(bits); }

static float halfToFloat(uint16_t bits) {
  return static_cast<float>(std::bit_cast<_Float16>(bits));
}

static uint16_t floatToHalf(float value) {
  return std::bit_cast<uint16_t>(static_cast<_Float16>(value));
}

static float bfloatToFloat(uint16_t bits) {
  return asFloat(static_cast<uint32_t>(bits) << 16);
}

/// Whether `text` begins with `prefix`, which is taken away.
static bool take(std::string_view &text, std::string_view prefix) {
  if (text.substr(0, prefix.size()) != prefix)
    return false;
  text.remove_prefix(prefix.size());
  return true;
}

//===-- Exchanges of a warp -----------------------------------------------===//

enum class Shuffle { Up, Down, Butterfly, Index };

/// (mask, a, b, c) -> a of the source lane, and with `predicate` whether it is
/// in range.
static bool shuffle(const Lanes &lanes, Shuffle mode, bool predicate) {
  uint32_t values[32], inRange[32];
  for (int lane = 0; lane < 32; ++lane) {
    if (!lanes[lane])
      continue;
    int b = word(lanes[lane], 2) & 31, c = word(lanes[lane], 3) & 31;
    int segment = word(lanes[lane], 3) >> 8 & 31;
    int last = (lane & segment) | (c & ~segment), first = lane & segment;
    int source = 0;
    bool in = false;
    switch (mode) {
    case Shuffle::Up:
      source = lane - b;
      in = source >= last;
      break;
    case Shuffle::Down:
      source = lane + b;
      in = source <= last;
      break;
    case Shuffle::Butterfly:
      source = lane ^ b;
      in = source <= last;
      break;
    case Shuffle::Index:
      source = first | (b & ~segment);
      in = source <= last;
      break;
    }
    if (!in)
      source = lane;
    if (!lanes[source])
      return false;
    values[lane] = word(lanes[source], 1);
    inRange[lane] = in;
  }
  for (int lane = 0; lane < 32; ++lane)
    if (lanes[lane]) {
      lanes[lane][4] = values[lane];
      if (predicate)
        lanes[lane][5] = inRange[lane];
    }
  return true;
}

static bool findShuffle(std::string_view name, Definition &intrinsic) {
  if (!take(name, "shfl.sync."))
    return false;
  Shuffle mode;
  if (take(name, "up."))
    mode = Shuffle::Up;
  else if (take(name, "down."))
    mode = Shuffle::Down;
  else if (take(name, "bfly."))
    mode = Shuffle::Butterfly;
  else if (take(name, "idx."))
    mode = Shuffle::Index;
  else
    return false;
  bool predicate = name.back() == 'p';
  if (name != "i32" && name != "f32" && name != "i32p" && name != "f32p")
    return false;
  intrinsic.kind = Definition::Kind::Warp;
  intrinsic.mask = 0;
  intrinsic.warp = [=](const Lanes &lanes) {
    return shuffle(lanes, mode, predicate);
  };
  return true;
}

/// (mask, predicate) -> ballot, all, any, or uni.
static bool findVote(std::string_view name, Definition &intrinsic) {
  if (!take(name, "vote."))
    return false;
  if (name != "ballot.sync" && name != "all.sync" && name != "any.sync" &&
      name != "uni.sync")
    return false;
  intrinsic.kind = Definition::Kind::Warp;
  intrinsic.mask = 0;
  intrinsic.warp = [kind = name[0] == 'a' ? name[1]
                                          : name[0]](const Lanes &lanes) {
    uint32_t votes = 0, members = 0;
    for (int lane = 0; lane < 32; ++lane)
      if (lanes[lane]) {
        members |= 1u << lane;
        votes |= (word(lanes[lane], 1) & 1u) << lane;
      }
    uint32_t result = votes;
    if (kind == 'l')
      result = votes == members;
    else if (kind == 'n')
      result = votes != 0;
    else if (kind == 'u')
      result = votes == 0 || votes == members;
    for (Slots slots : lanes)
      if (slots)
        slots[2] = result;
    return true;
  };
  return true;
}

/// (value, mask) -> the reduction over the mask.
static bool findReduction(std::string_view name, Definition &intrinsic) {
  if (!take(name, "redux.sync."))
    return false;
  uint32_t (*combine)(uint32_t, uint32_t) = nullptr;
  if (name == "add")
    combine = [](uint32_t a, uint32_t b) { return a + b; };
  else if (name == "and")
    combine = [](uint32_t a, uint32_t b) { return a & b; };
  else if (name == "or")
    combine = [](uint32_t a, uint32_t b) { return a | b; };
  else if (name == "xor")
    combine = [](uint32_t a, uint32_t b) { return a ^ b; };
  else if (name == "umin")
    combine = [](uint32_t a, uint32_t b) { return std::min(a, b); };
  else if (name == "umax")
    combine = [](uint32_t a, uint32_t b) { return std::max(a, b); };
  else if (name == "min")
    combine = [](uint32_t a, uint32_t b) {
      return static_cast<int32_t>(a) < static_cast<int32_t>(b) ? a : b;
    };
  else if (name == "max")
    combine = [](uint32_t a, uint32_t b) {
      return static_cast<int32_t>(a) > static_cast<int32_t>(b) ? a : b;
    };
  else
    return false;
  intrinsic.kind = Definition::Kind::Warp;
  intrinsic.mask = 1;
  intrinsic.warp = [=](const Lanes &lanes) {
    bool first = true;
    uint32_t result = 0;
    for (Slots slots : lanes)
      if (slots) {
        result = first ? word(slots, 0) : combine(result, word(slots, 0));
        first = false;
      }
    for (Slots slots : lanes)
      if (slots)
        slots[2] = result;
    return true;
  };
  return true;
}

//===-- Matrices ----------------------------------------------------------===//

/// (address of a row of 8 b16) -> a register a matrix, two elements each.
static bool findMatrixLoad(std::string_view name, Definition &intrinsic) {
  if (!take(name, "ldmatrix.sync.aligned.m8n8.x") || name.size() < 5)
    return false;
  int matrices = name[0] - '0';
  name.remove_prefix(1);
  bool transposed = take(name, ".trans");
  if (name.substr(0, 4) != ".b16")
    return false;
  intrinsic.kind = Definition::Kind::Warp;
  intrinsic.warp = [=](const Lanes &lanes) {
    uint16_t rows[32][8];
    for (int lane = 0; lane < 8 * matrices; ++lane)
      std::memcpy(rows[lane], reinterpret_cast<const void *>(lanes[lane][0]),
                  16);
    for (int lane = 0; lane < 32; ++lane)
      for (int m = 0; m < matrices; ++m) {
        uint32_t value = 0;
        for (int i = 0; i < 2; ++i) {
          int row = lane / 4, column = 2 * (lane % 4) + i;
          if (transposed)
            std::swap(row, column);
          value |= static_cast<uint32_t>(rows[8 * m + row][column]) << (16 * i);
        }
        lanes[lane][1 + m] = value;
      }
    return true;
  };
  return true;
}

/// What a register of an operand of mma holds.
enum class Element { F16, BF16, S8, U8 };

static double element(uint32_t bits, int index, Element type) {
  switch (type) {
  case Element::F16:
    return halfToFloat(static_cast<uint16_t>(bits >> (16 * index)));
  case Element::BF16:
    return bfloatToFloat(static_cast<uint16_t>(bits >> (16 * index)));
  case Element::S8:
    return static_cast<int8_t>(bits >> (8 * index));
  case Element::U8:
    return static_cast<uint8_t>(bits >> (8 * index));
  }
  return 0;
}

/// D[16][8] = A[16][k] B[k][8] + C, fragments over the lanes of the warp. A
/// register of A or B holds consecutive k; the registers of A go through rows
/// g and g + 8 first, g = lane / 4, then to the second half of k.
static bool multiply(const Lanes &lanes, int k, Element a, Element b,
                     bool halfSums) {
  bool bytes = a == Element::S8 || a == Element::U8;
  int perRegister = bytes ? 4 : 2, span = 4 * perRegister; // k of one register
  int numB = k / span, numA = 2 * numB;
  double A[16][32], B[32][8];
  for (int lane = 0; lane < 32; ++lane) {
    int group = lane / 4, thread = lane % 4;
    for (int r = 0; r < numA; ++r)
      for (int i = 0; i < perRegister; ++i)
        A[group + 8 * (r % 2)][r / 2 * span + thread * perRegister + i] =
            element(word(lanes[lane], r), i, a);
    for (int r = 0; r < numB; ++r)
      for (int i = 0; i < perRegister; ++i)
        B[r * span + thread * perRegister + i][group] =
            element(word(lanes[lane], numA + r), i, b);
  }
  int c = numA + numB, numC = halfSums ? 2 : 4, d = c + numC;
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 4; ++i) {
      int row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
      double sum = 0;
      for (int j = 0; j < k; ++j)
        sum += A[row][j] * B[j][column];
      Slots slots = lanes[lane];
      if (bytes) {
        slots[d + i] = word(slots, c + i) +
                       static_cast<uint32_t>(static_cast<int64_t>(sum));
      } else if (halfSums) {
        int shift = 16 * (i % 2);
        double old =
            halfToFloat(static_cast<uint16_t>(word(slots, c + i / 2) >> shift));
        uint64_t bits = floatToHalf(static_cast<float>(old + sum));
        if (i % 2 == 0)
          slots[d + i / 2] = 0;
        slots[d + i / 2] |= bits << shift;
      } else {
        slots[d + i] = std::bit_cast<uint32_t>(
            static_cast<float>(asFloat(word(slots, c + i)) + sum));
      }
    }
  return true;
}

static bool findMultiply(std::string_view name, Definition &intrinsic) {
  int k = 0;
  if (take(name, "mma.m16n8k8.row.col."))
    k = 8;
  else if (take(name, "mma.m16n8k16.row.col."))
    k = 16;
  else if (take(name, "mma.m16n8k32.row.col."))
    k = 32;
  else
    return false;
  Element a, b;
  bool halfSums = name == "f16.f16";
  if ((name == "f32.f32" || halfSums) && k <= 16)
    a = b = Element::F16;
  else if (name == "bf16" && k <= 16)
    a = b = Element::BF16;
  else if ((name == "s8" || name == "s8.u8") && k >= 16)
    a = Element::S8, b = name == "s8" ? Element::S8 : Element::U8;
  else if ((name == "u8" || name == "u8.s8") && k >= 16)
    a = Element::U8, b = name == "u8" ? Element::U8 : Element::S8;
  else
    return false;
  intrinsic.kind = Definition::Kind::Warp;
  intrinsic.warp = [=](const Lanes &lanes) {
    return multiply(lanes, k, a, b, halfSums);
  };
  return true;
}

//===-- Barriers ----------------------------------------------------------===//

static bool findBarrier(std::string_view name, Definition &intrinsic) {
  if (name == "bar.warp.sync") {
    intrinsic.kind = Definition::Kind::Warp;
    intrinsic.mask = 0;
    intrinsic.warp = [](const Lanes &) { return true; };
    return true;
  }
  if (!take(name, "barrier.cta."))
    return false;
  bool sync = take(name, "sync.");
  if (!sync) {
    if (take(name, "red.and."))
      intrinsic.reduce = [](uint64_t a, uint64_t b) { return a & b & 1; };
    else if (take(name, "red.or."))
      intrinsic.reduce = [](uint64_t a, uint64_t b) { return (a | b) & 1; };
    else
      return false;
  }
  take(name, "aligned.");
  if (name != "all" && name != "count")
    return false;
  intrinsic.kind = Definition::Kind::Barrier;
  intrinsic.count = name == "count" ? 1 : -1;
  return true;
}

//===-- One thread --------------------------------------------------------===//

static bool findAsyncCopy(std::string_view name, Definition &intrinsic) {
  if (!take(name, "cp.async."))
    return false;
  if (name == "commit.group") {
    intrinsic.local = [](Slots) {
      AsyncCopies &copies = asyncCopies();
      copies.groups.push_back(std::move(copies.open));
      copies.open.clear();
    };
    return true;
  }
  if (name == "wait.group") {
    intrinsic.local = [](Slots slots) { asyncCopies().wait(word(slots, 0)); };
    return true;
  }
  if (name == "wait.all") {
    intrinsic.local = [](Slots) {
      AsyncCopies &copies = asyncCopies();
      copies.groups.push_back(std::move(copies.open));
      copies.open.clear();
      copies.wait(0);
    };
    return true;
  }
  if (!take(name, "ca.shared.global.") && !take(name, "cg.shared.global."))
    return false;
  size_t bytes = take(name, "16") ? 16 : take(name, "8") ? 8 : 4;
  bool sized = name.ends_with(".s");
  intrinsic.local = [=](Slots slots) {
    size_t read = sized ? std::min<size_t>(bytes, word(slots, 2)) : bytes;
    asyncCopies().open.push_back({reinterpret_cast<void *>(slots[0]),
                                  reinterpret_cast<const void *>(slots[1]),
                                  read, bytes - read});
  };
  return true;
}

static bool findLocal(std::string_view name, Definition &intrinsic) {
  // Blocks run one after the other, and there is no cache.
  if (name == "griddepcontrol.wait" ||
      name == "griddepcontrol.launch.dependents" ||
      name == "cp.async.bulk.prefetch.L2") {
    intrinsic.local = [](Slots) {};
    return true;
  }
  if (name == "ff2f16x2.rn") { // the first operand is the upper half
    intrinsic.local = [](Slots slots) {
      slots[2] = uint32_t(floatToHalf(asFloat(word(slots, 0)))) << 16 |
                 floatToHalf(asFloat(word(slots, 1)));
    };
    return true;
  }
  return false;
}

bool qc::test::nvvm::findIntrinsic(const std::string &name,
                                   Definition &intrinsic) {
  intrinsic.name = name;
  std::string_view rest = name;
  if (!take(rest, "llvm.nvvm."))
    return false;
  // Overloaded on the address space of a pointer.
  if (size_t at = rest.rfind(".p");
      at != std::string_view::npos &&
      rest.find_first_not_of("0123456789", at + 2) == std::string_view::npos)
    rest = rest.substr(0, at);
  intrinsic.name = rest;
  return findShuffle(rest, intrinsic) || findVote(rest, intrinsic) ||
         findReduction(rest, intrinsic) || findMatrixLoad(rest, intrinsic) ||
         findMultiply(rest, intrinsic) || findBarrier(rest, intrinsic) ||
         findAsyncCopy(rest, intrinsic) || findLocal(rest, intrinsic);
}
