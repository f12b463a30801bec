//===- KernelTuning.cpp - Constants of the kernel generators --------------===//
#include "qc/Target/CPU/KernelTuning.h"
#include "Kernels.h"

using namespace mlir;
using namespace mlir::qc;
using namespace mlir::qc::cpu;

KernelTuning KernelTuning::forTarget(const TargetFeatures &target) {
  KernelTuning tuning;
  // A tile's sums, its decoded weights and temporaries fit the 32 registers of
  // AVX-512 or the 16 of its predecessors. Zen 4, 128 tokens of int4: 16 take
  // 1.45 times as long, 4 take 1.08 times.
  tuning.tokenTile = target.avx512 ? 8 : 4;
  // Half of a second-level cache of 512 KiB, the least of today's server CPUs.
  tuning.strip = 256;
  // Zen 4, int4 in groups of 128: 4 to 16 KiB are alike.
  tuning.prefetch = 8;
  // Granite Rapids, int4, 2 threads: 43.5 tokens/s without, 51, 52 to 54, 52 to
  // 55, 52 with 2, 4, 8, 16. Zen 4 needs none (2 bits: 160 without, 145 with).
  tuning.decodePrefetch = target.sse4a ? 0 : 8;
  // Zen 4, int4 and int8: 2 to 8 are alike from memory; int8 dot products and
  // f32 multiply-adds take 4 cycles.
  tuning.sums = 4;
  // Reproducible kernels read rows.
  tuning.interleavesF32 = !target.reproducible;
  // Half of the registers.
  tuning.scoreRegisters = target.avx512 ? 16 : 8;
  return tuning;
}

namespace {
struct Constant {
  StringRef name;
  int64_t KernelTuning::*member;
  int64_t least, most;
  bool powerOfTwo;
};
} // namespace

static constexpr Constant constants[] = {
    {"token-tile", &KernelTuning::tokenTile, 1, 16, true},
    {"strip", &KernelTuning::strip, 1, 65536, false},
    {"prefetch", &KernelTuning::prefetch, 0, 1024, false},
    {"decode-prefetch", &KernelTuning::decodePrefetch, 0, 1024, false},
    {"sums", &KernelTuning::sums, 1, 16, true},
    {"score-registers", &KernelTuning::scoreRegisters, 1, 32, false},
};

llvm::Error KernelTuning::set(StringRef text) {
  SmallVector<StringRef> fields;
  text.split(fields, ',', /*MaxSplit=*/-1, /*KeepEmpty=*/false);
  for (StringRef field : fields) {
    auto [name, digits] = field.trim().split('=');
    const Constant *constant =
        llvm::find_if(constants, [n = name.trim()](const Constant &candidate) {
          return candidate.name == n;
        });
    if (constant == std::end(constants))
      return llvm::createStringError("tuning '" + field.trim() +
                                     "': expected token-tile, strip, prefetch, "
                                     "decode-prefetch, sums or score-registers "
                                     "and '=' and a number");
    int64_t value = 0;
    bool isNumber = !digits.trim().getAsInteger(10, value);
    if (!isNumber || value < constant->least || value > constant->most ||
        (constant->powerOfTwo && !llvm::isPowerOf2_64(value)))
      return llvm::createStringError(llvm::formatv(
          "tuning '{0}': expected {1}from {2} to {3}", field.trim(),
          constant->powerOfTwo ? "a power of two " : "a number ",
          constant->least, constant->most));
    this->*constant->member = value;
  }
  return llvm::Error::success();
}

std::string KernelTuning::difference(const KernelTuning &other) const {
  std::string text;
  for (const Constant &constant : constants)
    if (this->*constant.member != other.*constant.member)
      text += llvm::formatv("{0}{1}={2}", text.empty() ? "" : ",",
                            constant.name, this->*constant.member);
  return text;
}

std::string TuningTable::key(WeightType weight, Arithmetic arithmetic) {
  return formatSpelling(weight.getFormat()) + "/" +
         stringifyArithmetic(arithmetic).str();
}

const KernelTuning &TuningTable::get(WeightType weight,
                                     Arithmetic arithmetic) const {
  auto it = formats.find(key(weight, arithmetic));
  return it == formats.end() ? common : it->second;
}

llvm::Expected<TuningTable> TuningTable::parse(StringRef text,
                                               const TargetFeatures &target) {
  TuningTable table(target);
  SmallVector<StringRef> entries;
  text.split(entries, ';', /*MaxSplit=*/-1, /*KeepEmpty=*/false);
  // What holds for all kernels first, wherever it stands.
  for (StringRef entry : entries)
    if (!entry.contains(':'))
      if (llvm::Error error = table.common.set(entry))
        return error;
  for (StringRef entry : entries) {
    if (!entry.contains(':'))
      continue;
    auto [name, values] = entry.split(':');
    auto [format, arithmetic] = name.trim().rsplit('/');
    std::string why;
    auto parsed = ::qc::parseFormat(format.str(), why);
    if (!parsed || !symbolizeArithmetic(arithmetic))
      return llvm::createStringError("tuning '" + entry.trim() +
                                     "': expected FORMAT/f32, FORMAT/int8 or "
                                     "FORMAT/bf16 before ':'" +
                                     (why.empty() ? "" : ", " + why));
    // Spelled as the IR spells it.
    auto it = table.formats.try_emplace(
        parsed->spelling() + "/" + arithmetic.str(), table.common);
    if (llvm::Error error = it.first->second.set(values))
      return error;
  }
  return table;
}

std::string cpu::tuningName(const KernelContext &ctx,
                            const KernelTuning &tuning) {
  std::string name = tuning.difference(KernelTuning::forTarget(ctx.target));
  for (char &c : name)
    if (!llvm::isAlnum(c))
      c = '_';
  return name.empty() ? name : "_" + name;
}
