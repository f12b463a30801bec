//===- WriterTest.cpp - Writing safetensors files -------------------------===//
#include "TestFiles.h"

#include "qc/Frontend/Safetensors.h"
#include "qc/Frontend/SafetensorsWriter.h"
#include <csignal>
#include <nlohmann/json.hpp>
#include <random>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

using namespace qc;
using namespace qc::test;

static std::vector<uint8_t> randomBytes(const TensorSpec &spec, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<uint8_t> bytes(static_cast<size_t>(spec.numBytes()));
  for (uint8_t &byte : bytes)
    byte = static_cast<uint8_t>(random());
  return bytes;
}

static const std::vector<TensorSpec> specs = {
    {"codes", DType::U8, {3, 5}},     {"scales", DType::F16, {3, 1}},
    {"scalar", DType::F64, {}},       {"empty", DType::F32, {0, 4}},
    {"ids \"q\"\n", DType::I32, {7}}, {"b", DType::Bool, {1}}};

TEST(SafetensorsWriter, RoundTripInAnyOrder) {
  TempDir dir;
  std::string path = dir.file("out.safetensors");
  auto writer = SafetensorsWriter::create(path, specs, {{"made by", "qc"}});
  ASSERT_TRUE(bool(writer)) << llvm::toString(writer.takeError());
  EXPECT_FALSE(std::filesystem::exists(path));
  std::vector<std::vector<uint8_t>> contents;
  for (size_t i = 0; i < specs.size(); ++i)
    contents.push_back(randomBytes(specs[i], static_cast<unsigned>(i)));
  for (size_t i = specs.size(); i-- > 1;)
    EXPECT_EQ(errorOf((*writer)->write({specs[i], contents[i].data()})), "");
  llvm::ArrayRef<uint8_t> codes = contents[0]; // in two parts, last first
  EXPECT_EQ(errorOf((*writer)->write("codes", 4, codes.drop_front(4))), "");
  EXPECT_EQ(errorOf((*writer)->write("codes", 0, codes.take_front(4))), "");
  EXPECT_EQ(errorOf((*writer)->commit()), "");
  EXPECT_EQ(dir.count(), 1u);

  auto file = SafetensorsFile::open(path);
  ASSERT_TRUE(bool(file)) << llvm::toString(file.takeError());
  ASSERT_EQ((*file)->tensors().size(), specs.size());
  EXPECT_EQ((*file)->metadata()[0].first, "made by");
  for (size_t i = 0; i < specs.size(); ++i) {
    const SafetensorsTensor *tensor = (*file)->find(specs[i].name);
    ASSERT_TRUE(tensor) << specs[i].name;
    EXPECT_EQ(tensor->spec.type, specs[i].type);
    EXPECT_EQ(tensor->spec.shape, specs[i].shape);
    EXPECT_EQ(tensor->offset, (*writer)->offsetOf(specs[i].name));
    EXPECT_EQ(tensor->offset % byteWidth(specs[i].type), 0);
    EXPECT_EQ(std::vector<uint8_t>(tensor->data, tensor->data + tensor->bytes),
              contents[i]);
  }
  // Independently of our reader: length, padding, JSON, place of a tensor.
  std::string bytes = read(path);
  uint64_t length;
  std::memcpy(&length, bytes.data(), 8);
  EXPECT_EQ(length % 8, 0u);
  auto header = nlohmann::json::parse(bytes.substr(8, length));
  EXPECT_EQ(header["codes"]["shape"], nlohmann::json({3, 5}));
  size_t begin = header["codes"]["data_offsets"][0];
  EXPECT_EQ(bytes.substr(8 + length + begin, 15),
            std::string(contents[0].begin(), contents[0].end()));
}

TEST(SafetensorsWriter, WritesFromManyThreads) {
  TempDir dir;
  TensorSpec spec{"w", DType::U16, {64, 1000}};
  std::vector<uint8_t> bytes = randomBytes(spec, 7);
  auto writer = SafetensorsWriter::create(dir.file("t"), spec);
  ASSERT_TRUE(bool(writer));
  std::vector<std::thread> threads;
  for (int64_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int64_t row = t; row < 64; row += 4)
        EXPECT_EQ(
            errorOf((*writer)->write(
                "w", row * 2000, {bytes.data() + row * 2000, size_t(2000)})),
            "");
    });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_EQ(errorOf((*writer)->commit()), "");
  auto file = SafetensorsFile::open(dir.file("t"));
  ASSERT_TRUE(bool(file));
  EXPECT_EQ(std::memcmp((*file)->find("w")->data, bytes.data(), bytes.size()),
            0);
}

TEST(SafetensorsWriter, ReplacesAFileOnlyWhenComplete) {
  TempDir dir;
  std::string path = dir.write("out", "old");
  {
    auto writer = SafetensorsWriter::create(path, specs);
    ASSERT_TRUE(bool(writer));
    EXPECT_EQ(dir.count(), 2u);
  }
  EXPECT_EQ(dir.count(), 1u);
  EXPECT_EQ(read(path), "old");
  auto writer = SafetensorsWriter::create(path, specs);
  ASSERT_TRUE(bool(writer));
  expectError(errorOf((*writer)->commit()),
              "tensor 'scalar' has 0 bytes written, expected 8");
  EXPECT_EQ(dir.count(), 1u);
  EXPECT_EQ(read(path), "old");
  expectError(errorOf((*writer)->commit()), "already written");
  expectError(errorOf((*writer)->write("b", 0, {uint8_t(1)})),
              "already written");
}

static void writeHalfAndDie(const std::string &path) {
  auto writer = SafetensorsWriter::resume(path, specs, {{"key", "1"}});
  if (!writer || (*writer)->continues())
    std::_Exit(2);
  std::vector<uint8_t> codes = randomBytes(specs[0], 9);
  llvm::cantFail((*writer)->write({specs[0], codes.data()}));
  std::_Exit(0); // no destructor: as if killed
}

TEST(SafetensorsWriter, ContinuesAfterAKill) {
  TempDir dir;
  std::string path = dir.file("out");
  EXPECT_EXIT(writeHalfAndDie(path), testing::ExitedWithCode(0), "");
  EXPECT_TRUE(std::filesystem::exists(path + ".partial"));
  {
    auto writer = SafetensorsWriter::resume(path, specs, {{"key", "1"}});
    ASSERT_TRUE(bool(writer)) << llvm::toString(writer.takeError());
    EXPECT_TRUE((*writer)->continues());
    std::vector<uint8_t> codes(15);
    EXPECT_EQ(errorOf((*writer)->read("codes", codes)), "");
    EXPECT_EQ(codes, randomBytes(specs[0], 9));
    expectError(errorOf((*writer)->read("scales", codes)),
                "tensor 'scales' was not announced with 15 bytes");
    (*writer)->adopt("codes");
    for (size_t i = 1; i < specs.size(); ++i)
      EXPECT_EQ(errorOf((*writer)->write(
                    {specs[i], randomBytes(specs[i], 1).data()})),
                "");
    EXPECT_EQ(errorOf((*writer)->commit()), "");
  }
  auto file = SafetensorsFile::open(path);
  ASSERT_TRUE(bool(file)) << llvm::toString(file.takeError());
  EXPECT_EQ(std::memcmp((*file)->find("codes")->data,
                        randomBytes(specs[0], 9).data(), 15),
            0);
  EXPECT_EQ(dir.count(), 1u);
}

TEST(SafetensorsWriter, OtherHeaderStartsAfresh) {
  TempDir dir;
  std::string path = dir.file("out");
  EXPECT_EXIT(writeHalfAndDie(path), testing::ExitedWithCode(0), "");
  {
    auto writer = SafetensorsWriter::resume(path, specs, {{"key", "2"}});
    ASSERT_TRUE(bool(writer));
    EXPECT_FALSE((*writer)->continues());
    std::vector<uint8_t> codes(15, 1);
    EXPECT_EQ(errorOf((*writer)->read("codes", codes)), "");
    EXPECT_EQ(codes, std::vector<uint8_t>(15, 0));
  }
  EXPECT_EQ(dir.count(), 0u); // given up: removed
}

TEST(SafetensorsWriter, RefusesBadSpecs) {
  TempDir dir;
  auto error = [&](std::vector<TensorSpec> bad) {
    return errorOf(SafetensorsWriter::create(dir.file("x"), bad));
  };
  expectError(error({{"a", DType::F32, {1}}, {"a", DType::F32, {1}}}),
              "tensor 'a' appears twice");
  expectError(error({{"", DType::F32, {1}}}), "not a name for a tensor");
  expectError(error({{"__metadata__", DType::F32, {1}}}),
              "not a name for a tensor");
  expectError(error({{"a", DType::F32, {2, -1}}}),
              "tensor 'a' has a negative size: F32 [2, -1]");
  expectError(error({{"a", DType::F64, {int64_t(1) << 40, int64_t(1) << 40}},
                     {"b", DType::F64, {int64_t(1) << 62}}}),
              "tensor 'b': file of more than 2^63 bytes");
  EXPECT_EQ(dir.count(), 0u);
}

TEST(SafetensorsWriter, RefusesBadWrites) {
  TempDir dir;
  auto writer = SafetensorsWriter::create(dir.file("x"), specs);
  ASSERT_TRUE(bool(writer));
  uint8_t bytes[16] = {};
  expectError(errorOf((*writer)->write("nothing", 0, bytes)),
              "tensor 'nothing' was not announced");
  expectError(errorOf((*writer)->write("codes", 0, bytes)),
              "tensor 'codes': bytes [0, 16) are outside of its 15");
  expectError(errorOf((*writer)->write("codes", -1, {bytes, 1})),
              "outside of its 15");
  expectError(errorOf((*writer)->write("codes", INT64_MAX, {bytes, 1})),
              "outside of its 15");
  expectError(errorOf((*writer)->write({{"codes", DType::U8, {5, 3}}, bytes})),
              "tensor 'codes' is U8 [5, 3], expected U8 [3, 5]");
}

TEST(SafetensorsWriter, UnwritableFolder) {
  TempDir dir;
  expectError(errorOf(SafetensorsWriter::create(dir.file("no/x"), specs)),
              "No such file or directory");
  expectError(errorOf(SafetensorsWriter::create(dir.path, specs)),
              "Is a directory");
  expectError(errorOf(SafetensorsWriter::create("/proc/qc.safetensors", specs)),
              "cannot write '/proc/qc.safetensors'");
  if (::geteuid() == 0)
    return; // root may write anywhere
  ::chmod(dir.path.c_str(), 0500);
  expectError(errorOf(SafetensorsWriter::create(dir.file("x"), specs)),
              "Permission denied");
  ::chmod(dir.path.c_str(), 0700);
}

/// A process of its own, because the limit stays.
static void writePastLimit(const std::string &path) {
  ::signal(SIGXFSZ, SIG_IGN);
  rlimit limit{1 << 20, 1 << 20};
  ::setrlimit(RLIMIT_FSIZE, &limit);
  std::string error = errorOf(
      SafetensorsWriter::create(path, TensorSpec{"w", DType::U8, {2 << 20}}));
  fprintf(stderr, "%s\n", error.c_str());
  std::_Exit(error.empty() ? 1 : 0);
}

TEST(SafetensorsWriter, FileSizeLimit) {
  TempDir dir;
  std::string path = dir.file("big");
  EXPECT_EXIT(writePastLimit(path), testing::ExitedWithCode(0),
              "cannot write '.*/big': File too large \\(it needs 20972.. "
              "bytes\\)");
  EXPECT_EQ(dir.count(), 0u);
}

TEST(SafetensorsWriter, DiskFull) {
  TempDir dir;
  if (::mount("tmpfs", dir.path.c_str(), "tmpfs", 0, "size=256k") != 0)
    GTEST_SKIP() << "skipped: may not mount a small file system";
  std::string error = errorOf(SafetensorsWriter::create(
      dir.file("big"), TensorSpec{"w", DType::U8, {1 << 20}}));
  size_t left = dir.count();
  // Enough for a small file; then one that fits no more.
  auto writer = SafetensorsWriter::create(dir.file("small"),
                                          TensorSpec{"w", DType::U8, {4096}});
  EXPECT_TRUE(bool(writer));
  ::umount2(dir.path.c_str(), MNT_DETACH);
  expectError(error, "No space left on device (it needs 1048");
  EXPECT_EQ(left, 0u);
}
