//===- QCModel.cpp - C interface of a compiled model ----------------------===//
#include "qc/Runtime/QCModel.h"
#include "qc/Runtime/Artefact/Payload.h"
#include "qc/Runtime/Evaluate/Evaluate.h"

#include <cstring>
#include <nlohmann/json.hpp>

using namespace qc::rt;

struct QCSession {
  std::unique_ptr<Payload> payload;
  std::unique_ptr<Tokenizer> tokenizer; ///< null: the model has none
  std::unique_ptr<Session> session;
  std::string metadata, error;
};

static int64_t fail(QCSession *session, std::string message) {
  session->error = std::move(message);
  return -1;
}

/// What is wrong; empty if `session` is ready.
static std::string open(QCSession &session, const std::string &path,
                        int64_t threads, int64_t context) {
  if (qc_model.abi_version != QC_ABI_VERSION)
    return "the model has another ABI version than its runtime";
  if (std::string problem = versionProblem(); !problem.empty())
    return problem;
  if (std::string missing = missingFeatures(activeModel()); !missing.empty())
    return "this CPU lacks " + missing + ", which the model was compiled for";
  if (threads < 0 || threads > 1024)
    return "threads must be 0 to 1024, not " + std::to_string(threads);
  if (context < 0 || context > activeModel().max_positions)
    return "context must be 0 to " +
           std::to_string(activeModel().max_positions) + ", not " +
           std::to_string(context);
  std::string error;
  session.payload = Payload::open(path, /*copy=*/false, error);
  if (!session.payload)
    return error;
  std::string_view weights = session.payload->section("weights");
  if (static_cast<int64_t>(weights.size()) != activeModel().weights_bytes)
    return "'" + path + "': section 'weights' has " +
           std::to_string(weights.size()) + " bytes, expected " +
           std::to_string(activeModel().weights_bytes);
  session.metadata = session.payload->section("metadata");
  auto metadata = nlohmann::json::parse(session.metadata, nullptr,
                                        /*allow_exceptions=*/false);
  if (!metadata.is_object())
    return "'" + path + "': section 'metadata' is not a JSON object";
  if (auto it = metadata.find("tokenizer");
      it != metadata.end() && it->is_object()) {
    bool pieces = it->value("kind", std::string()) == "sentencepiece";
    session.tokenizer = Tokenizer::create(
        pieces ? TokenizerKind::SentencePiece : TokenizerKind::HuggingFaceJson,
        session.payload->section("tokenizer"), error);
    if (!session.tokenizer)
      return "tokenizer: " + error;
  }
  Session::Options options;
  options.hugePages = true;
  options.threads = threads ? threads : availableCPUs();
  options.capacity =
      context ? context : std::min<int64_t>(activeModel().max_positions, 4096);
  session.session =
      Session::create(activeModel(), weights.data(), options, error);
  return session.session ? "" : error;
}

QCSession *qc_open(const char *path, int64_t threads, int64_t context,
                   char *error, int64_t errorSize) {
  auto session = std::make_unique<QCSession>();
  std::string problem;
  try {
    problem =
        open(*session, path ? path : objectPath(&qc_model), threads, context);
  } catch (const std::exception &exception) {
    problem = exception.what();
  }
  if (problem.empty())
    return session.release();
  if (error && errorSize > 0) {
    size_t length =
        std::min(problem.size(), static_cast<size_t>(errorSize) - 1);
    std::memcpy(error, problem.data(), length);
    error[length] = 0;
  }
  return nullptr;
}

void qc_close(QCSession *session) { delete session; }

const char *qc_error(const QCSession *session) {
  return session->error.c_str();
}

int64_t qc_vocab_size(const QCSession *) { return activeModel().vocab_size; }

int64_t qc_context_size(const QCSession *session) {
  return session->session->capacity();
}

const char *qc_metadata(const QCSession *session) {
  return session->metadata.c_str();
}

int64_t qc_encode(QCSession *session, const char *text, int64_t length,
                  int32_t parseSpecial, int32_t *ids, int64_t capacity) {
  if (!session->tokenizer)
    return fail(session, "this model has no tokenizer");
  if (length < 0 || capacity < 0)
    return fail(session, "negative size");
  std::string_view view(text, static_cast<size_t>(length));
  size_t bad;
  if (!validUtf8(view, bad))
    return fail(session,
                "the text is not valid UTF-8 at byte " + std::to_string(bad));
  try {
    std::string error;
    std::vector<int32_t> result =
        session->tokenizer->encode(view, parseSpecial != 0, &error);
    if (!error.empty())
      return fail(session, error);
    auto count = static_cast<int64_t>(result.size());
    std::copy_n(result.begin(), std::min(count, capacity), ids);
    return count;
  } catch (const std::exception &exception) {
    return fail(session, exception.what());
  }
}

int64_t qc_decode_token(QCSession *session, int32_t id, char *bytes,
                        int64_t capacity) {
  if (!session->tokenizer)
    return fail(session, "this model has no tokenizer");
  if (id < 0 || id >= activeModel().vocab_size)
    return fail(session, "token id " + std::to_string(id) +
                             " is out of range: the vocabulary has " +
                             std::to_string(activeModel().vocab_size) +
                             " tokens");
  if (capacity < 0)
    return fail(session, "negative size");
  try {
    std::string text = session->tokenizer->tokenBytes(id);
    auto count = static_cast<int64_t>(text.size());
    std::copy_n(text.begin(), std::min(count, capacity), bytes);
    return count;
  } catch (const std::exception &exception) {
    return fail(session, exception.what());
  }
}

/// Goes back to `position`; false and qc_error() if that is in the future.
static bool rewind(QCSession *session, int64_t n, int64_t position) {
  int64_t used = session->session->position();
  if (n < 1 || position < 0 || position > used) {
    fail(session, std::to_string(n) + " tokens at position " +
                      std::to_string(position) +
                      ": expected at least 1 at 0 "
                      "to " +
                      std::to_string(used));
    return false;
  }
  session->session->truncate(position);
  return true;
}

int64_t qc_eval(QCSession *session, const int32_t *ids, int64_t n,
                int64_t position, float *logits) {
  if (!rewind(session, n, position))
    return -1;
  const float *last =
      session->session->append({ids, static_cast<size_t>(n)}, session->error);
  if (!last)
    return -1;
  std::copy_n(last, activeModel().vocab_size, logits);
  return session->session->position();
}

int64_t qc_score(QCSession *session, const int32_t *ids, int64_t n,
                 int64_t position, float *logits) {
  if (!rewind(session, n, position))
    return -1;
  try {
    bool done = session->session->score(
        {ids, static_cast<size_t>(n)},
        [&](int64_t first, const float *rows, int64_t count) {
          std::copy_n(rows, count * activeModel().vocab_size,
                      logits + first * activeModel().vocab_size);
          return true;
        },
        session->error);
    return done ? session->session->position() : -1;
  } catch (const std::exception &exception) {
    return fail(session, exception.what());
  }
}
