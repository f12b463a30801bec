//===- BadSafetensorsTest.cpp - Malformed safetensors files ---------------===//
#include "TestFiles.h"

#include "qc/Frontend/Safetensors.h"
#include <chrono>
#include <random>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace qc;
using namespace qc::test;

namespace {
struct BadFile {
  const char *name;
  std::string bytes;
  std::string fragment; ///< of the message
};
} // namespace

static std::string tensor(const char *dtype, const char *shape, int64_t begin,
                          int64_t end) {
  return std::string("{\"dtype\":\"") + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":[" + std::to_string(begin) + "," +
         std::to_string(end) + "]}";
}
static std::string bytes(size_t count) { return std::string(count, 'x'); }

static std::vector<BadFile> badFiles() {
  std::string ok = tensor("F32", "[2]", 0, 8);
  auto one = [](const std::string &info, size_t data = 8) {
    return safetensors("{\"w\":" + info + "}", bytes(data));
  };
  auto two = [](const std::string &a, const std::string &b, size_t data) {
    return safetensors("{\"a\":" + a + ",\"b\":" + b + "}", bytes(data));
  };
  auto withLength = [](uint64_t length, std::string file) {
    std::memcpy(file.data(), &length, 8);
    return file;
  };
  std::string deep = "{\"w\":";
  for (int i = 0; i < 100000; ++i)
    deep += "[";
  return {
      {"Empty", "", "0 bytes, expected at least 8"},
      {"SevenBytes", bytes(7), "7 bytes, expected at least 8"},
      {"HeaderTooLarge", withLength(100'000'001, safetensors("{}")),
       "header of 100000001 bytes, expected at most 100000000"},
      {"HeaderLengthHuge", withLength(~uint64_t(0), safetensors("{}")),
       "header of 18446744073709551615 bytes, expected at most 100000000"},
      {"HeaderLengthWraps", withLength(~uint64_t(0) - 7, safetensors("{}")),
       "expected at most 100000000"},
      {"HeaderPastEnd", withLength(3, safetensors("{}")),
       "header of 3 bytes, but the file has only 2 after the length"},
      {"HeaderCut", safetensors("{\"w\":" + ok + "}").substr(0, 20),
       "is it truncated?"},
      {"HeaderEmpty", safetensors(""), "header: not JSON"},
      {"NotUtf8", safetensors("{\"\xff\":" + ok + "}", bytes(8)),
       "header: not UTF-8, first bad byte at 2"},
      {"OverlongUtf8", safetensors("{\"\xc0\xaf\":" + ok + "}", bytes(8)),
       "header: not UTF-8, first bad byte at 2"},
      {"NotJson", safetensors("{\"w\":"), "header: not JSON: parse error"},
      {"TwoValues", safetensors("{}{}"), "header: not JSON"},
      {"Comment", safetensors("{/*x*/}"), "header: not JSON"},
      {"NumberTooLarge",
       safetensors("{\"w\":{\"dtype\":\"F32\",\"shape\":[1e999],"
                   "\"data_offsets\":[0,0]}}"),
       "number overflow"},
      {"HeaderIsArray", safetensors("[]"), "header is [], expected an object"},
      {"HeaderIsNumber", safetensors("5"), "header is 5, expected an object"},
      {"TooDeep", safetensors(deep), "nested deeper than 64 levels"},
      {"DeepObjects", safetensors([] {
         std::string text;
         for (int i = 0; i < 100000; ++i)
           text += "{\"a\":";
         return text;
       }()),
       "nested deeper than 64 levels"},
      {"TensorIsNumber", one("5"), "tensor 'w' is 5, expected an object"},
      {"TensorIsNull", one("null"), "tensor 'w' is null, expected an object"},
      {"NoDtype", one("{\"shape\":[2],\"data_offsets\":[0,8]}"),
       "tensor 'w' has no 'dtype'"},
      {"NoShape", one("{\"dtype\":\"F32\",\"data_offsets\":[0,8]}"),
       "tensor 'w' has no 'shape'"},
      {"NoOffsets", one("{\"dtype\":\"F32\",\"shape\":[2]}"),
       "tensor 'w' has no 'data_offsets'"},
      {"UnknownDtype", one(tensor("F33", "[2]", 0, 8)),
       "tensor 'w': dtype \"F33\" is not supported, expected F64, F32"},
      {"UnsupportedDtype", one(tensor("F8_E4M3", "[8]", 0, 8)),
       "tensor 'w': dtype \"F8_E4M3\" is not supported"},
      {"LowerCaseDtype", one(tensor("f32", "[2]", 0, 8)),
       "tensor 'w': dtype \"f32\" is not supported"},
      {"DtypeIsNumber",
       one("{\"dtype\":5,\"shape\":[2],\"data_offsets\":[0,8]}"),
       "tensor 'w': dtype 5 is not supported"},
      {"DuplicateTensor",
       safetensors("{\"w\":" + ok + ",\"w\":" + ok + "}", bytes(8)),
       "header: duplicate key 'w'"},
      {"DuplicateField",
       one("{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[2],"
           "\"data_offsets\":[0,8]}"),
       "header: duplicate key 'dtype'"},
      {"NegativeShape", one(tensor("F32", "[-2]", 0, 8)),
       "tensor 'w': shape has -2, expected an integer from 0"},
      {"FloatShape", one(tensor("F32", "[2.0]", 0, 8)),
       "tensor 'w': shape has 2.0, expected an integer from 0"},
      {"StringShape", one(tensor("F32", "[\"2\"]", 0, 8)),
       "tensor 'w': shape has \"2\", expected an integer from 0"},
      {"HugeShape", one(tensor("F32", "[18446744073709551615]", 0, 8)),
       "tensor 'w': shape has 18446744073709551615, expected an integer"},
      {"ShapePastUint64", one(tensor("F32", "[18446744073709551617]", 0, 8)),
       "tensor 'w': shape has 1.8446744073709552e+19, expected an integer"},
      {"ShapeIsNumber", one(tensor("F32", "2", 0, 8)),
       "tensor 'w': shape is 2, expected an array of at most 16 numbers"},
      {"ShapeRank17",
       one(tensor("F32", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2]", 0, 8)),
       "tensor 'w': shape is an array of 17, expected an array of at most 16"},
      {"ProductOverflow", one(tensor("F32", "[4294967296,4294967296]", 0, 8)),
       "has more bytes than a 64-bit number can say"},
      {"BytesOverflow", one(tensor("F32", "[4611686018427387904]", 0, 8)),
       "has more bytes than a 64-bit number can say"},
      {"ProductWrapsToRightSize",
       one(tensor("U8", "[8,2305843009213693953]", 0, 8)),
       "has more bytes than a 64-bit number can say"},
      {"OffsetsReversed", one(tensor("F32", "[2]", 8, 0)),
       "tensor 'w': data_offsets [8, 0] end before they begin"},
      {"OffsetsNegative", one(tensor("F32", "[2]", -8, 0)),
       "tensor 'w': data_offsets has -8, expected an integer from 0"},
      {"OneOffset",
       one("{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8]}"),
       "tensor 'w': data_offsets has 1 numbers, expected 2"},
      {"ThreeOffsets",
       one("{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8,8]}"),
       "tensor 'w': data_offsets is [0,8,8], expected an array of at most 2"},
      {"SizeTooSmall", one(tensor("F32", "[2]", 0, 4), 4),
       "tensor 'w': data_offsets [0, 4] span 4 bytes, expected 8 for F32 [2]"},
      {"SizeTooLarge", one(tensor("F16", "[2]", 0, 8)),
       "tensor 'w': data_offsets [0, 8] span 8 bytes, expected 4 for F16 [2]"},
      {"ScalarNeedsData", one(tensor("F32", "[]", 0, 0), 0),
       "span 0 bytes, expected 4 for F32 []"},
      {"FirstNotAtZero", one(tensor("F32", "[2]", 8, 16), 16),
       "tensor 'w' begins at byte 8 of the data, expected 0: no tensor owns"},
      {"Hole", two(ok, tensor("F32", "[2]", 12, 20), 20),
       "tensor 'b' begins at byte 12 of the data, expected 8: no tensor owns"},
      {"Overlap", two(ok, tensor("F32", "[2]", 4, 12), 12),
       "tensor 'b' begins at byte 4 of the data, expected 8: it overlaps "
       "tensor 'a'"},
      {"SameBytesTwice", two(ok, ok, 8),
       "tensor 'b' begins at byte 0 of the data, expected 8: it overlaps"},
      {"PastTheEnd", one(tensor("F32", "[4]", 0, 16), 8),
       "tensor 'w' ends at byte 16 of the data, but the file holds only 8"},
      {"FarPastTheEnd", one(tensor("F32", "[1000000000000]", 0, 4000000000000)),
       "but the file holds only 8: is it truncated?"},
      {"TrailingBytes", one(ok, 13), "5 bytes follow the last tensor"},
      {"DataWithoutTensors", safetensors("{}", bytes(3)),
       "3 bytes follow the last tensor"},
      {"MetadataIsString", safetensors("{\"__metadata__\":\"pt\"}"),
       "__metadata__ is \"pt\", expected an object of strings"},
      {"MetadataNotString", safetensors("{\"__metadata__\":{\"n\":1}}"),
       "__metadata__ 'n' is 1, expected a string"},
      {"NameWithNewline",
       safetensors("{\"a\\nb\":" + tensor("F32", "[2]", 0, 4) + "}", bytes(4)),
       "tensor 'a?b': data_offsets [0, 4] span"},
  };
}

class BadSafetensors : public testing::TestWithParam<BadFile> {};

TEST_P(BadSafetensors, OneLineSaysWhatIsWrong) {
  TempDir dir;
  std::string path = dir.write("bad.safetensors", GetParam().bytes);
  std::string error = errorOf(SafetensorsFile::open(path));
  expectError(error, GetParam().fragment);
  expectError(error, path);
}

INSTANTIATE_TEST_SUITE_P(Files, BadSafetensors, testing::ValuesIn(badFiles()),
                         [](const testing::TestParamInfo<BadFile> &info) {
                           return std::string(info.param.name);
                         });

TEST(BadSafetensorsPath, MissingFolderPipeAndUnreadable) {
  TempDir dir;
  expectError(errorOf(SafetensorsFile::open(dir.file("none"))),
              "No such file or directory");
  expectError(errorOf(SafetensorsFile::open(dir.path)), "not a regular file");
  std::string pipe = dir.file("pipe");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  // Must not wait for a writer.
  expectError(errorOf(SafetensorsFile::open(pipe)), "not a regular file");
  expectError(errorOf(SafetensorsFile::open("/dev/zero")),
              "not a regular file");
}

TEST(BadSafetensorsPath, LongNameIsCut) {
  TempDir dir;
  std::string path =
      dir.write("x", safetensors("{\"" + std::string(100000, 'n') + "\":7}"));
  std::string error = errorOf(SafetensorsFile::open(path));
  EXPECT_LT(error.size(), 500u);
  expectError(error, "nnn...' is 7, expected an object");
}

// Whatever the mutation does, opening ends quickly and every tensor that is
// accepted lies inside of the file and is readable to its last byte.
TEST(FuzzSafetensors, MutatedHeaders) {
  std::string good =
      safetensors("{\"__metadata__\":{\"format\":\"pt\"},\"a\":" +
                      tensor("F32", "[2,3]", 0, 24) +
                      ",\"b\":" + tensor("BF16", "[5]", 24, 34) +
                      ",\"c\":" + tensor("U8", "[]", 34, 35) + "}   ",
                  bytes(35));
  const char *tokens[] = {"{",     "}",    "[",   "]",     ",",  ":",
                          "\"",    "-1",   "1e9", "0",     "35", "24",
                          "\"a\"", "null", "F16", "99999", "\\", "\xf0\x9f"};
  std::mt19937 random(1234);
  auto pick = [&](size_t count) { return random() % count; };
  // In memory: a disk may take milliseconds for each file.
  int fd = ::memfd_create("fuzz", MFD_CLOEXEC);
  ASSERT_GE(fd, 0);
  std::string path = "/proc/self/fd/" + std::to_string(fd);
  auto start = std::chrono::steady_clock::now();
  int accepted = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string file = good;
    for (size_t edits = 1 + pick(2); edits > 0 && file.size() > 8; --edits) {
      size_t at = pick(file.size());
      switch (pick(6)) {
      case 0:
        file[at] = static_cast<char>(random());
        break;
      case 1:
        file.erase(at, 1 + pick(8));
        break;
      case 2:
        file.insert(at, tokens[pick(std::size(tokens))]);
        break;
      case 3:
        file[pick(8)] = static_cast<char>(random());
        break;
      case 4:
        file.resize(at + 1);
        break;
      case 5: // digits keep the JSON whole and change the numbers
        at = file.find_first_of("0123456789", at);
        if (at != std::string::npos)
          file[at] = static_cast<char>('0' + pick(10));
        break;
      }
    }
    ASSERT_EQ(::ftruncate(fd, static_cast<off_t>(file.size())), 0);
    ASSERT_EQ(::pwrite(fd, file.data(), file.size(), 0),
              static_cast<ssize_t>(file.size()));
    auto opened = SafetensorsFile::open(path);
    if (!opened) {
      std::string error = llvm::toString(opened.takeError());
      ASSERT_EQ(error.find('\n'), std::string::npos) << error;
      ASSERT_LT(error.size(), 1000u) << error;
      continue;
    }
    ++accepted;
    unsigned sum = 0;
    for (const SafetensorsTensor &t : (*opened)->tensors()) {
      ASSERT_GE(t.offset, 8);
      ASSERT_LE(t.offset + t.bytes, static_cast<int64_t>(file.size()));
      ASSERT_EQ(t.spec.numBytes(), t.bytes);
      for (int64_t i = 0; i < t.bytes; ++i)
        sum += t.data[i];
      (void)findNonFinite(t.view());
    }
    ASSERT_LT(sum, 35u * 256u);
  }
  auto seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
          .count();
  ::close(fd);
  EXPECT_LT(seconds, 60);
  // The loop must reach past the parser.
  EXPECT_GT(accepted, 500);
  EXPECT_LT(accepted, 19000);
}
