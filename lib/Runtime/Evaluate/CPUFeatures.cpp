//===- CPUFeatures.cpp - What the CPU must have ---------------------------===//
#include "qc/Runtime/Evaluate/Evaluate.h"
#include "qc/Runtime/Evaluate/TileRegisters.h"

#include <string_view>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

using namespace qc::rt;

#if defined(__x86_64__)
namespace {

struct Registers {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Registers cpuid(uint32_t leaf, uint32_t subleaf) {
  Registers r;
  if (!__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx))
    r = {};
  return r;
}

/// State components that the operating system saves (XCR0).
uint64_t enabledState() {
  if (!(cpuid(1, 0).ecx >> 27 & 1)) // OSXSAVE
    return 0;
  uint32_t low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<uint64_t>(high) << 32 | low;
}

enum Register { EAX, EBX, ECX, EDX };
enum State : uint64_t { None = 0, AVX = 0x6, AVX512 = 0xe6, AMX = 0x60000 };

struct Feature {
  std::string_view name; ///< LLVM's
  uint32_t leaf, subleaf;
  Register reg;
  int bit;
  State state;
};

// Intel SDM volume 2A, CPUID; AMD APM volume 3, appendix E.
constexpr Feature features[] = {
    {"sse3", 1, 0, ECX, 0, None},
    {"ssse3", 1, 0, ECX, 9, None},
    {"fma", 1, 0, ECX, 12, AVX},
    {"cx16", 1, 0, ECX, 13, None},
    {"sse4.1", 1, 0, ECX, 19, None},
    {"sse4.2", 1, 0, ECX, 20, None},
    {"movbe", 1, 0, ECX, 22, None},
    {"popcnt", 1, 0, ECX, 23, None},
    {"avx", 1, 0, ECX, 28, AVX},
    {"f16c", 1, 0, ECX, 29, AVX},
    {"bmi", 7, 0, EBX, 3, None},
    {"avx2", 7, 0, EBX, 5, AVX},
    {"bmi2", 7, 0, EBX, 8, None},
    {"avx512f", 7, 0, EBX, 16, AVX512},
    {"avx512dq", 7, 0, EBX, 17, AVX512},
    {"avx512ifma", 7, 0, EBX, 21, AVX512},
    {"avx512cd", 7, 0, EBX, 28, AVX512},
    {"avx512bw", 7, 0, EBX, 30, AVX512},
    {"avx512vl", 7, 0, EBX, 31, AVX512},
    {"avx512vbmi", 7, 0, ECX, 1, AVX512},
    {"avx512vbmi2", 7, 0, ECX, 6, AVX512},
    {"gfni", 7, 0, ECX, 8, None},
    {"vaes", 7, 0, ECX, 9, AVX},
    {"vpclmulqdq", 7, 0, ECX, 10, AVX},
    {"avx512vnni", 7, 0, ECX, 11, AVX512},
    {"avx512bitalg", 7, 0, ECX, 12, AVX512},
    {"avx512vpopcntdq", 7, 0, ECX, 14, AVX512},
    {"amx-bf16", 7, 0, EDX, 22, AMX},
    {"avx512fp16", 7, 0, EDX, 23, AVX512},
    {"amx-tile", 7, 0, EDX, 24, AMX},
    {"amx-int8", 7, 0, EDX, 25, AMX},
    {"avxvnni", 7, 1, EAX, 4, AVX},
    {"avx512bf16", 7, 1, EAX, 5, AVX512},
    {"lzcnt", 0x80000001, 0, ECX, 5, None},
};

/// Why code cannot use a feature; null where it can.
const char *obstacle(std::string_view name) {
  for (const Feature &feature : features) {
    if (feature.name != name)
      continue;
    Registers r = cpuid(feature.leaf, feature.subleaf);
    uint32_t words[] = {r.eax, r.ebx, r.ecx, r.edx};
    if (!(words[feature.reg] >> feature.bit & 1) ||
        (enabledState() & feature.state) != feature.state)
      return "";
    if (feature.state == AMX && !qc::requestTileRegisters())
      return " (the operating system refuses the tile registers)";
    return nullptr;
  }
  return "";
}

} // namespace
#else
static const char *obstacle(std::string_view) { return ""; }
#endif

bool qc::rt::hasFeature(std::string_view name) { return !obstacle(name); }

std::string qc::rt::missingFeatures(const QCModel &model) {
  std::string missing;
  std::string_view needed = model.cpu_features ? model.cpu_features : "";
  while (!needed.empty()) {
    std::string_view name = needed.substr(0, needed.find(','));
    needed.remove_prefix(std::min(needed.size(), name.size() + 1));
    if (name.empty())
      continue;
    if (const char *why = obstacle(name))
      missing += (missing.empty() ? "" : ", ") + std::string(name) + why;
  }
  return missing;
}

const QCModel *qc::rt::pickVersion(const QCModel &model, const char *wanted,
                                   std::string &error) {
  std::span versions(model.versions, static_cast<size_t>(model.num_versions));
  if (!wanted) {
    for (const QCModel *version : versions)
      if (missingFeatures(*version).empty())
        return version;
    return &model;
  }
  std::string known;
  for (const QCModel *version : versions) {
    if (version->target_cpu == std::string_view(wanted))
      return version;
    known += (known.empty() ? "" : ", ") + std::string(version->target_cpu);
  }
  if (versions.empty()) {
    known = model.target_cpu;
    if (known == wanted)
      return &model;
  }
  error = "QC_ISA=" + std::string(wanted) + ": this file has code for " + known;
  return nullptr;
}
