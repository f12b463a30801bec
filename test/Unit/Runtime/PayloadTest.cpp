//===- PayloadTest.cpp - Payloads, whole and damaged ----------------------===//
#include "TestProgram.h"

#include <algorithm>
#include <cstring>
#include <fstream>

using namespace qc::rt;

namespace {

/// A file with 5000 bytes of "ELF" and three sections.
class PayloadTest : public testing::Test {
protected:
  void SetUp() override {
    path = dir.write("file", std::string(5000, 'E'));
    std::string source = dir.write("big", std::string(3 << 20, 'W'));
    std::string error;
    ASSERT_TRUE(appendPayload(path,
                              {PayloadSection::fromFile("weights", source),
                               PayloadSection::fromBytes("metadata", "{}"),
                               PayloadSection::fromBytes("empty", "")},
                              error))
        << error;
    bytes = readFile(path);
    std::memcpy(&trailer, bytes.data() + bytes.size() - sizeof trailer,
                sizeof trailer);
  }
  /// The error of opening `content`; empty if it opens.
  std::string open(const std::string &content, bool copy = false) {
    std::string error;
    auto payload = Payload::open(dir.write("damaged", content), copy, error);
    EXPECT_EQ(payload == nullptr, !error.empty());
    EXPECT_EQ(std::count(error.begin(), error.end(), '\n'), 0) << error;
    return error;
  }
  std::string withTrailer(const QCTrailer &changed) {
    std::string content = bytes;
    std::memcpy(content.data() + content.size() - sizeof changed, &changed,
                sizeof changed);
    return content;
  }
  /// A file whose table is changed and whose checksums say it is right.
  std::string withSection(size_t index, const QCSection &section) {
    std::string content = bytes;
    char *table = content.data() + trailer.table_offset;
    std::memcpy(table + index * sizeof section, &section, sizeof section);
    QCTrailer changed = trailer;
    changed.checksum = checksum(table, trailer.num_sections * sizeof section);
    std::memcpy(content.data() + content.size() - sizeof changed, &changed,
                sizeof changed);
    return content;
  }
  QCSection section(size_t index) {
    QCSection result;
    std::memcpy(&result,
                bytes.data() + trailer.table_offset + index * sizeof result,
                sizeof result);
    return result;
  }
  TempDir dir;
  std::string path, bytes;
  QCTrailer trailer;
};

TEST_F(PayloadTest, RoundTrip) {
  for (bool copy : {false, true}) {
    std::string error;
    auto payload = Payload::open(path, copy, error);
    ASSERT_TRUE(payload) << error;
    EXPECT_EQ(payload->section("weights"), std::string(3 << 20, 'W'));
    EXPECT_EQ(payload->section("metadata"), "{}");
    EXPECT_EQ(payload->section("empty").size(), 0u);
    EXPECT_EQ(payload->section("nothing").data(), nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(payload->section("weights").data()) %
                  4096,
              0u);
  }
  EXPECT_EQ(bytes.substr(0, 5000), std::string(5000, 'E'));
}

TEST_F(PayloadTest, DamagedWeights) {
  // Two whole blocks and a ragged rest, from a file and from memory.
  std::string weights(2 * WeightsChecksum::blockSize + 77, 'W');
  for (size_t i = 0; i < weights.size(); ++i)
    weights[i] = static_cast<char>(i * 2654435761u >> 13);
  for (const PayloadSection &section :
       {PayloadSection::fromBytes("weights", weights),
        PayloadSection::fromFile("weights", dir.write("w", weights))}) {
    std::string to = dir.write("to", "x"), error;
    ASSERT_TRUE(appendPayload(to, {section}, error)) << error;
    std::string whole = readFile(to);
    auto check = [&](const std::string &content) {
      auto payload = Payload::open(dir.write("to", content), false, error);
      EXPECT_TRUE(payload) << error << ": weights are not read at start-up";
      return payload ? payload->checkWeights() : "";
    };
    EXPECT_EQ(check(whole), "");
    for (size_t at : {size_t(0), size_t(63), WeightsChecksum::blockSize - 1,
                      WeightsChecksum::blockSize, weights.size() - 1}) {
      std::string content = whole;
      content[4096 + at] ^= '\x80';
      EXPECT_EQ(check(content), "'" + to + "': section 'weights' is damaged");
      // Nor does the next word of the lane make up for it.
      if (at + 64 < weights.size())
        content[4096 + at + 64] ^= '\x80';
      EXPECT_NE(check(content), "") << at;
    }
    std::string swapped = whole;
    std::swap_ranges(swapped.begin() + 4096,
                     swapped.begin() + 4096 + WeightsChecksum::blockSize,
                     swapped.begin() + 4096 + WeightsChecksum::blockSize);
    EXPECT_NE(check(swapped), "");
  }
}

TEST_F(PayloadTest, Checksum) {
  // Vectors of FNV-1a 64 by Landon Curt Noll.
  EXPECT_EQ(checksum("", 0), 0xcbf29ce484222325ull);
  EXPECT_EQ(checksum("foobar", 6), 0x85944171f73967e8ull);
}

TEST_F(PayloadTest, EveryTruncationIsRefused) {
  for (size_t length :
       {size_t(0), size_t(1), sizeof(QCTrailer) - 1, sizeof(QCTrailer),
        size_t(4096), bytes.size() / 2, bytes.size() - 4096,
        bytes.size() - sizeof(QCTrailer), bytes.size() - 1})
    EXPECT_NE(open(bytes.substr(0, length)), "") << length;
  EXPECT_NE(open(bytes + '\0'), "");
  // A trailer of a longer file.
  EXPECT_NE(open(bytes.substr(4096)), "");
}

TEST_F(PayloadTest, EveryBitOfTableAndTrailerMatters) {
  for (size_t at = trailer.table_offset; at < bytes.size(); ++at)
    for (int bit : {0, 3, 7}) {
      std::string content = bytes;
      content[at] = static_cast<char>(content[at] ^ (1 << bit));
      EXPECT_NE(open(content), "") << "byte " << at << " bit " << bit;
    }
}

TEST_F(PayloadTest, EveryFieldOfTheTrailerIsChecked) {
  auto refused = [&](auto change) {
    QCTrailer changed = trailer;
    change(changed);
    return open(withTrailer(changed)) != "";
  };
  EXPECT_TRUE(refused([](QCTrailer &t) { t.magic[0] = 'X'; }));
  EXPECT_TRUE(refused([](QCTrailer &t) { t.version = 99; }));
  for (uint32_t count : {0u, 2u, 4u, 65u, ~0u, 1u << 30})
    EXPECT_TRUE(refused([&](QCTrailer &t) { t.num_sections = count; }));
  for (uint64_t offset : {uint64_t(0), ~uint64_t(0), uint64_t(1) << 63,
                          trailer.table_offset + 1, trailer.file_size})
    EXPECT_TRUE(refused([&](QCTrailer &t) { t.table_offset = offset; }));
  EXPECT_TRUE(refused([](QCTrailer &t) { t.file_size += 1; }));
  EXPECT_TRUE(refused([](QCTrailer &t) { t.checksum += 1; }));
}

TEST_F(PayloadTest, EveryFieldOfASectionIsChecked) {
  auto error = [&](size_t index, auto change) {
    QCSection changed = section(index);
    change(changed);
    return open(withSection(index, changed));
  };
  auto nothing = [](QCSection &) {};
  EXPECT_EQ(error(0, nothing), "") << "the helper of this test";
  for (uint64_t offset :
       {uint64_t(1), ~uint64_t(4095), trailer.table_offset + 4096})
    EXPECT_NE(error(0, [&](QCSection &s) { s.offset = offset; }), "");
  for (uint64_t size : {~uint64_t(0), trailer.file_size, ~uint64_t(0) - 8191})
    EXPECT_NE(error(0, [&](QCSection &s) { s.size = size; }), "");
  EXPECT_NE(error(1, [](QCSection &s) { s.size = 1; }), "");
  EXPECT_NE(error(1, [](QCSection &s) { s.checksum += 1; }), "");
  EXPECT_NE(error(1, [](QCSection &s) { s.checksum = 0; }), "");
  QCSection first = section(0);
  EXPECT_NE(error(1, [&](QCSection &s) { s = first; }).find("twice"),
            std::string::npos);
}

TEST_F(PayloadTest, DamagedSection) {
  std::string content = bytes;
  content[section(1).offset] = '[';
  EXPECT_NE(open(content).find("section 'metadata' is damaged"),
            std::string::npos);
  EXPECT_NE(open(content, /*copy=*/true), "");
}

TEST_F(PayloadTest, NotAFile) {
  std::string error;
  EXPECT_EQ(Payload::open(dir.file("absent"), false, error), nullptr);
  EXPECT_NE(error.find("No such file"), std::string::npos) << error;
  EXPECT_EQ(Payload::open(dir.path, false, error), nullptr);
  EXPECT_EQ(Payload::open("/dev/zero", false, error), nullptr);
}

TEST_F(PayloadTest, WriterErrors) {
  std::string error;
  auto append = [&](const std::string &to, PayloadSection section) {
    error.clear();
    bool done = appendPayload(to, {std::move(section)}, error);
    EXPECT_EQ(done, error.empty());
    return done;
  };
  std::string to = dir.write("to", "x");
  EXPECT_FALSE(append(dir.file("absent"), PayloadSection::fromBytes("a", "b")));
  EXPECT_NE(error.find("cannot write"), std::string::npos);
  EXPECT_FALSE(append(to, PayloadSection::fromFile("a", dir.file("absent"))));
  EXPECT_NE(error.find("cannot read"), std::string::npos);
  EXPECT_FALSE(append(to, PayloadSection::fromFile("a", dir.path)));
  EXPECT_FALSE(append(to, PayloadSection::fromBytes("sixteen-bytes-xx", "")));
  EXPECT_FALSE(append(to, PayloadSection::fromBytes("", "")));
  EXPECT_TRUE(append(to, PayloadSection::fromBytes("fifteen-bytes-x", "")));
  EXPECT_FALSE(append("/dev/full", PayloadSection::fromBytes("a", "b")));
}

} // namespace
