//===- TuningFileTest.cpp - What --tune remembers -------------------------===//
#include "qc/Pipelines/TuningFile.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "gtest/gtest.h"

#include <cstdlib>
#include <fstream>
#include <optional>

using namespace mlir::qc;

namespace {

class TuningFileTest : public testing::Test {
protected:
  void SetUp() override {
    llvm::SmallString<128> path;
    ASSERT_FALSE(llvm::sys::fs::createUniqueDirectory("qc-tuning", path));
    folder = path.str().str();
    file = folder + "/new/qc/tuning.json";
  }
  void TearDown() override { llvm::sys::fs::remove_directories(folder); }

  void write(const std::string &text) {
    llvm::sys::fs::create_directories(llvm::sys::path::parent_path(file));
    std::ofstream(file) << text;
  }
  /// The message that load() fails with; empty if it succeeds.
  std::string complaint() {
    llvm::Expected<TuningFile> loaded = TuningFile::load(file);
    return loaded ? "" : llvm::toString(loaded.takeError());
  }

  std::string folder, file;
  const TuningKey key = {"EPYC \"9\" é", "native",
                         "grouped<bits = 4, group = 128, scale = f16>/int8",
                         "1.0"};
};

/// Sets an environment variable for a while.
class Variable {
public:
  Variable(const char *name, const char *value) : name(name) {
    if (const char *now = std::getenv(name))
      before = now;
    value ? setenv(name, value, 1) : unsetenv(name);
  }
  ~Variable() { before ? setenv(name, before->c_str(), 1) : unsetenv(name); }

private:
  const char *name;
  std::optional<std::string> before;
};

} // namespace

TEST_F(TuningFileTest, ComesBack) {
  TuningFile written;
  written.remember(key, {"token-tile=16", {{1, 1.0}, {128, 1.07}}});
  TuningKey other = key;
  other.kernels = "float<f16>/f32";
  written.remember(other, {"", {}});
  ASSERT_FALSE(llvm::errorToBool(written.save(file)));

  llvm::Expected<TuningFile> read = TuningFile::load(file);
  ASSERT_TRUE(bool(read)) << llvm::toString(read.takeError());
  const RememberedTuning *found = read->find(key);
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->tuning, "token-tile=16");
  ASSERT_EQ(found->speedups.size(), 2u);
  EXPECT_EQ(found->speedups[1].first, 128);
  EXPECT_DOUBLE_EQ(found->speedups[1].second, 1.07);
  ASSERT_NE(read->find(other), nullptr);
  EXPECT_EQ(read->find(other)->tuning, "");

  // Nothing but the file itself is left in its folder.
  std::error_code code;
  int count = 0;
  for (llvm::sys::fs::directory_iterator
           it(llvm::sys::path::parent_path(file), code),
       end;
       it != end && !code; it.increment(code))
    ++count;
  EXPECT_EQ(count, 1);
}

TEST_F(TuningFileTest, LaterMeasurementReplaces) {
  TuningFile written;
  written.remember(key, {"sums=2", {}});
  written.remember(key, {"sums=8", {}});
  ASSERT_FALSE(llvm::errorToBool(written.save(file)));
  llvm::Expected<TuningFile> read = TuningFile::load(file);
  ASSERT_TRUE(bool(read));
  ASSERT_NE(read->find(key), nullptr);
  EXPECT_EQ(read->find(key)->tuning, "sums=8");
}

TEST_F(TuningFileTest, EachPartOfTheKeyCounts) {
  TuningFile tunings;
  tunings.remember(key, {"sums=2", {}});
  for (std::string TuningKey::*part :
       {&TuningKey::cpu, &TuningKey::mcpu, &TuningKey::kernels,
        &TuningKey::version}) {
    TuningKey other = key;
    other.*part += "x";
    EXPECT_EQ(tunings.find(other), nullptr) << other.*part;
  }
  EXPECT_NE(tunings.find(key), nullptr);
}

TEST_F(TuningFileTest, NoFileIsEmpty) {
  llvm::Expected<TuningFile> read = TuningFile::load(file);
  ASSERT_TRUE(bool(read));
  EXPECT_EQ(read->find(key), nullptr);
}

TEST_F(TuningFileTest, DamagedFilesAreOneLine) {
  const std::string entry =
      R"({"cpu": "c", "mcpu": "m", "kernels": "k", "version": "v", "tuning": "sums=2"})";
  auto list = [](const std::string &entries) {
    return R"({"version": 1, "tunings": [)" + entries + "]}";
  };
  write(list(entry));
  ASSERT_EQ(complaint(), "");
  const std::string damaged[] = {
      "",
      "{",
      "[]",
      "null",
      std::string(200000, '['),
      std::string("\0\xff\xfe", 3),
      R"({"version": 2, "tunings": []})",
      R"({"version": 1})",
      R"({"version": 1, "tunings": {}})",
      list("1"),
      list("{}"),
      list(entry + ", " + R"({"cpu": 1})"),
      list(
          R"({"cpu": "c", "mcpu": "m", "kernels": "k", "version": "v", "tuning": "sums=3"})"),
      list(
          R"({"cpu": "c", "mcpu": "m", "kernels": "k", "version": "v", "tuning": "x"})"),
      list(
          R"({"cpu": "c", "mcpu": "m", "kernels": "k", "version": "v", "tuning": "", "speedup": 1})"),
      list(
          R"({"cpu": "c", "mcpu": "m", "kernels": "k", "version": "v", "tuning": "", "speedup": {"x": 1}})"),
  };
  for (const std::string &text : damaged) {
    write(text);
    std::string message = complaint();
    EXPECT_NE(message.find("tuning.json"), std::string::npos)
        << text.substr(0, 80) << ": " << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
  // A folder in its place.
  llvm::sys::fs::remove(file);
  llvm::sys::fs::create_directories(file);
  EXPECT_NE(complaint(), "");
}

TEST_F(TuningFileTest, CannotBeWritten) {
  write("");
  // A file where a folder should be.
  std::string message =
      llvm::toString(TuningFile().save(file + "/qc/tuning.json"));
  EXPECT_NE(message.find("cannot write '"), std::string::npos) << message;
}

TEST_F(TuningFileTest, LiesInTheCacheFolder) {
  Variable home("HOME", "/home/u");
  {
    Variable cache("XDG_CACHE_HOME", "/tmp/c");
    EXPECT_EQ(TuningFile::defaultPath(), "/tmp/c/qc/tuning.json");
  }
  // The specification: relative paths are invalid and ignored.
  for (const char *value :
       {"relative", "", static_cast<const char *>(nullptr)}) {
    Variable cache("XDG_CACHE_HOME", value);
    EXPECT_EQ(TuningFile::defaultPath(), "/home/u/.cache/qc/tuning.json");
  }
  Variable cache("XDG_CACHE_HOME", nullptr), none("HOME", nullptr);
  EXPECT_EQ(TuningFile::defaultPath(), "");
}

TEST(CpuModel, HasAName) { EXPECT_NE(cpuModel(), ""); }
