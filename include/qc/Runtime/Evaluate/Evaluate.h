//===- Evaluate.h - Perplexity, benchmark and self-test ---------*- C++ -*-===//
#ifndef QC_RUNTIME_EVALUATE_EVALUATE_H
#define QC_RUNTIME_EVALUATE_EVALUATE_H

#include "qc/Runtime/Session/Session.h"
#include "qc/Runtime/Tokenizer/Tokenizer.h"

namespace qc::rt {

/// How a text becomes windows of at most `window` ids:
///   Windows  the whole text in one call, cut every window - 1 ids, each piece
///            behind a BOS (window ids without one if the model has none);
///            every id is scored (without BOS all but the first of a window)
///   Lines    each non-empty stripped line behind a BOS, cut to `window`
///   GPTQ     BOS + the whole text, cut every `window` ids; the first of a
///            window is not scored (protocol of Frantar et al., arXiv
///            2210.17323, with its BOS)
enum class PerplexityMode { Windows, Lines, GPTQ };

struct PerplexityResult {
  double nll = 0; ///< mean, nats a token
  double perplexity = 0;
  int64_t tokens = 0; ///< scored
  int64_t windows = 0;
};

/// Perplexity of `text` (UTF-8) under the definition `mode`: exp of the mean
/// negative log likelihood, softmax in double over f32 logits. `bos` < 0: the
/// model has none. `maxTokens`: only the first ids of the text (0: all); unused
/// by Lines. The cache of `session` must hold `window` >= 2 positions.
bool perplexity(Session &session, const Tokenizer &tokenizer, int32_t bos,
                const std::string &text, PerplexityMode mode, int64_t window,
                int64_t maxTokens, PerplexityResult &result,
                std::string &error);

/// Bytes a second that `pool` reads from memory: the best of `repeats` sweeps
/// each in several patterns over `bytes` bytes: 1 GiB, or half of the available
/// memory if that is less.
/// 0 if there is no memory.
double streamBandwidth(ThreadPool &pool, int64_t repeats, int64_t &bytes);

/// Compares each generated kernel of the model with the definition of its
/// format; prints a line each and a summary. True if all pass.
bool selfTest(const QCModel &model, const void *weights, bool quiet);
/// The same on a device: the decoding of each format on every code point, and
/// that one token at a time gives what several at once give.
bool selfTest(const QCDeviceModel &model, Device &device, bool quiet);

/// Whether this CPU has a feature (LLVM's name) and the operating system saves
/// its registers; asks Linux for those of AMX. False for names that are not
/// known here.
bool hasFeature(std::string_view name);

/// Features of QCModel::cpu_features that this CPU or system lacks, comma
/// separated.
std::string missingFeatures(const QCModel &model);

/// The code version of `model` to run (QCModel::versions): the one named
/// `wanted` (its target_cpu) if that is not null, else the first that lacks
/// nothing here, else the last. Null and `error` if `wanted` names none.
const QCModel *pickVersion(const QCModel &model, const char *wanted,
                           std::string &error);

/// pickVersion() of `qc_model` and the environment variable QC_ISA, made once.
/// `qc_model` if that fails: then versionProblem() says why.
const QCModel &activeModel();
const std::string &versionProblem();

} // namespace qc::rt

#endif // QC_RUNTIME_EVALUATE_EVALUATE_H
