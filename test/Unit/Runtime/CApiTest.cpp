//===- CApiTest.cpp - The C interface of a shared object ------------------===//
#include "TestProgram.h"
#include "qc/Runtime/QCModel.h"

#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

/// The toy as a shared object, opened like a stranger's program does.
class CApiTest : public testing::Test {
protected:
  void SetUp() override {
    path = dir.file("libfake.so");
    makeFake("libqc-fake-model.so", path, TokenizerFile::SentencePiece);
    library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    ASSERT_TRUE(library) << dlerror();
#define GET(name) name = reinterpret_cast<decltype(&::name)>(symbol(#name))
    GET(qc_open), GET(qc_close), GET(qc_error), GET(qc_vocab_size);
    GET(qc_context_size), GET(qc_metadata), GET(qc_encode);
    GET(qc_decode_token), GET(qc_eval), GET(qc_score);
#undef GET
    char error[256] = "";
    session = qc_open(nullptr, 2, 0, error, sizeof error);
    ASSERT_TRUE(session) << error;
  }
  void TearDown() override {
    if (session)
      qc_close(session);
    if (library)
      dlclose(library);
  }
  void *symbol(const char *name) {
    void *address = dlsym(library, name);
    EXPECT_TRUE(address) << name;
    return address;
  }

  TempDir dir;
  std::string path;
  void *library = nullptr;
  QCSession *session = nullptr;
  decltype(&::qc_open) qc_open;
  decltype(&::qc_close) qc_close;
  decltype(&::qc_error) qc_error;
  decltype(&::qc_vocab_size) qc_vocab_size;
  decltype(&::qc_context_size) qc_context_size;
  decltype(&::qc_metadata) qc_metadata;
  decltype(&::qc_encode) qc_encode;
  decltype(&::qc_decode_token) qc_decode_token;
  decltype(&::qc_eval) qc_eval;
  decltype(&::qc_score) qc_score;
};

TEST_F(CApiTest, Evaluates) {
  EXPECT_EQ(qc_vocab_size(session), 512);
  EXPECT_EQ(qc_context_size(session), 512);
  std::vector<float> w = fake::weights(), row(512), rows(4 * 512);
  std::vector<int32_t> ids = {1, 7, 300, 42};
  ASSERT_EQ(qc_eval(session, ids.data(), 3, 0, row.data()), 3);
  EXPECT_EQ(row, fake::logits(w, ids, 2));
  ASSERT_EQ(qc_eval(session, ids.data() + 3, 1, 3, row.data()), 4);
  EXPECT_EQ(row, fake::logits(w, ids, 3));
  // Back to an earlier position.
  ids[2] = 8;
  ASSERT_EQ(qc_eval(session, ids.data() + 2, 2, 2, row.data()), 4);
  EXPECT_EQ(row, fake::logits(w, ids, 3));
  ASSERT_EQ(qc_score(session, ids.data(), 4, 0, rows.data()), 4);
  for (int64_t i = 0; i < 4; ++i)
    EXPECT_EQ(std::vector<float>(rows.begin() + i * 512,
                                 rows.begin() + (i + 1) * 512),
              fake::logits(w, ids, i));
}

TEST_F(CApiTest, Tokenizes) {
  std::string text = "Once upon a time";
  auto length = static_cast<int64_t>(text.size());
  int64_t count = qc_encode(session, text.data(), length, 0, nullptr, 0);
  ASSERT_GT(count, 0);
  std::vector<int32_t> ids(static_cast<size_t>(count));
  EXPECT_EQ(qc_encode(session, text.data(), length, 0, ids.data(), count),
            count);
  std::string back;
  for (int32_t id : ids) {
    char piece[64];
    int64_t size = qc_decode_token(session, id, piece, sizeof piece);
    ASSERT_GE(size, 0);
    back.append(piece, static_cast<size_t>(size));
  }
  EXPECT_EQ(back, " " + text);
  EXPECT_NE(std::string(qc_metadata(session)).find("\"model\":\"fake\""),
            std::string::npos);
}

TEST_F(CApiTest, Errors) {
  char error[256] = "";
  EXPECT_EQ(qc_open(dir.file("absent").c_str(), 0, 0, error, sizeof error),
            nullptr);
  EXPECT_NE(std::string(error).find("No such file"), std::string::npos);
  EXPECT_EQ(qc_open(nullptr, 0, 513, error, sizeof error), nullptr);
  EXPECT_EQ(std::string(error), "context must be 0 to 512, not 513");
  EXPECT_EQ(qc_open(nullptr, -1, 0, error, 4), nullptr);
  EXPECT_EQ(std::string(error), "thr") << "cut to the buffer";
  EXPECT_EQ(qc_open(nullptr, -1, 0, nullptr, 0), nullptr);

  float row[512];
  int32_t bad[] = {1, 512};
  EXPECT_EQ(qc_eval(session, bad, 2, 0, row), -1);
  EXPECT_EQ(std::string(qc_error(session)),
            "token id 512 at index 1 is out of range: the vocabulary has 512 "
            "tokens");
  EXPECT_EQ(qc_eval(session, bad, 1, 5, row), -1);
  EXPECT_NE(std::string(qc_error(session)).find("position 5"),
            std::string::npos);
  EXPECT_EQ(qc_eval(session, bad, 0, 0, row), -1);
  std::vector<int32_t> many(513, 1);
  EXPECT_EQ(qc_eval(session, many.data(), 513, 0, row), -1);
  EXPECT_EQ(qc_encode(session, "\xff", 1, 0, nullptr, 0), -1);
  EXPECT_EQ(qc_decode_token(session, -1, nullptr, 0), -1);
}

TEST_F(CApiTest, ExportsOnlyTheInterface) {
  EXPECT_EQ(dlsym(library, "main"), nullptr);
  EXPECT_EQ(dlsym(library, "pcre2_compile_8"), nullptr);
  EXPECT_TRUE(dlsym(library, "qc_model"));
}

TEST_F(CApiTest, TruncationWhileMappedIsSaid) {
  int err[2];
  ASSERT_EQ(pipe(err), 0);
  pid_t child = fork();
  if (child == 0) {
    dup2(err[1], 2);
    QCSession *one = qc_open(nullptr, 1, 0, nullptr, 0);
    float row[512];
    int32_t id = 511;
    // The code stays, the last rows of the weights go.
    if (truncate(path.c_str(),
                 static_cast<off_t>(readFile(path).size()) - 65536) == 0)
      qc_eval(one, &id, 1, 0, row);
    _exit(0);
  }
  close(err[1]);
  int status = 0;
  waitpid(child, &status, 0);
  char text[256] = "";
  EXPECT_GT(read(err[0], text, sizeof text - 1), 0);
  close(err[0]);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 3) << status;
  EXPECT_NE(std::string(text).find("the model's file changed while it was in "
                                   "use"),
            std::string::npos)
      << text;
  session = nullptr; // its weights are gone, too
}

} // namespace
