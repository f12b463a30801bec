//===- SessionTest.cpp - What a session refuses, and how it cuts ----------===//
#include "qc/Runtime/Session/Session.h"

#include <gtest/gtest.h>

using namespace qc::rt;

namespace {

struct Call {
  char kind;
  int64_t count, position, capacity;
  bool operator==(const Call &) const = default;
};
std::vector<Call> calls;

template <char kind>
void record(const void *, void *, void *, int64_t capacity, const int32_t *,
            int64_t count, int64_t position, float *logits, int64_t thread,
            int64_t, void *team) {
  if (thread == 0) {
    calls.push_back({kind, count, position, capacity});
    logits[0] = static_cast<float>(position + count);
  }
  qc_barrier(team);
}

class SessionTest : public testing::Test {
protected:
  SessionTest() {
    calls.clear();
    model.vocab_size = 10;
    model.max_tokens = 4;
    model.arena_bytes = 64;
    model.kv_bytes_per_token = 16;
    model.decode = record<'d'>;
    model.prefill = record<'p'>;
    model.score = record<'s'>;
  }
  std::unique_ptr<Session> create(int64_t capacity) {
    Session::Options options;
    options.threads = 2;
    options.capacity = capacity;
    return Session::create(model, nullptr, options, error);
  }
  QCModel model = {};
  std::string error;
};

TEST_F(SessionTest, PromptsAreCutIntoChunks) {
  auto session = create(20);
  ASSERT_TRUE(session) << error;
  std::vector<int32_t> ids(9, 1);
  ASSERT_TRUE(session->append(ids, error));
  ASSERT_TRUE(session->append(std::span(ids).first(1), error));
  // A rest of one token is a decode step.
  std::vector<Call> expected = {
      {'p', 4, 0, 32}, {'p', 4, 4, 32}, {'d', 1, 8, 32}, {'d', 1, 9, 32}};
  EXPECT_EQ(calls, expected);
  EXPECT_EQ(session->position(), 10);
  session->truncate(3);
  EXPECT_EQ(session->position(), 3);
  session->truncate(30);
  EXPECT_EQ(session->position(), 3) << "the future cannot be had";
}

TEST_F(SessionTest, ScoreGivesEveryRow) {
  auto session = create(20);
  std::vector<int32_t> ids(6, 1);
  std::vector<std::pair<int64_t, int64_t>> seen;
  ASSERT_TRUE(session->score(
      ids,
      [&](int64_t first, const float *, int64_t rows) {
        seen.push_back({first, rows});
        return true;
      },
      error));
  EXPECT_EQ(seen, (std::vector<std::pair<int64_t, int64_t>>{{0, 4}, {4, 2}}));
  // A sink may end it.
  EXPECT_FALSE(session->score(
      ids, [](int64_t, const float *, int64_t) { return false; }, error));
}

TEST_F(SessionTest, BadIdsAndFullContext) {
  auto session = create(5);
  for (int32_t bad : {-1, 10, INT32_MAX, INT32_MIN}) {
    std::vector<int32_t> ids = {1, 2, bad};
    EXPECT_FALSE(session->append(ids, error));
    EXPECT_EQ(error, "token id " + std::to_string(bad) +
                         " at index 2 is out of range: the vocabulary has 10 "
                         "tokens");
  }
  EXPECT_FALSE(session->append({}, error));
  std::vector<int32_t> ids(6, 1);
  EXPECT_FALSE(session->append(ids, error));
  EXPECT_EQ(error, "6 tokens do not fit a context of 5");
  EXPECT_TRUE(calls.empty()) << "nothing of it ran";
  ids.resize(5);
  EXPECT_TRUE(session->append(ids, error));
  ids.resize(1);
  EXPECT_FALSE(session->append(ids, error));
}

TEST_F(SessionTest, StopEndsBetweenChunks) {
  auto session = create(20);
  std::atomic<bool> stop{true};
  session->setStopFlag(&stop);
  std::vector<int32_t> ids(9, 1);
  EXPECT_FALSE(session->append(ids, error));
  EXPECT_EQ(error, "interrupted");
  EXPECT_EQ(session->position(), 0);
}

TEST_F(SessionTest, MemoryThatIsNotThere) {
  for (int64_t bytes : {int64_t(1) << 50, INT64_MAX}) {
    model.kv_bytes_per_token = bytes;
    EXPECT_FALSE(create(4096));
    EXPECT_EQ(error, "not enough memory for a KV cache of 4096 tokens (" +
                         std::to_string(bytes) +
                         " bytes each): use a smaller --context");
  }
  model.kv_bytes_per_token = 16;
  model.arena_bytes = int64_t(1) << 55;
  EXPECT_FALSE(create(4));
  EXPECT_NE(error.find("bytes of activations"), std::string::npos);
}

} // namespace
