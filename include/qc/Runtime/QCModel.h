/*===- QCModel.h - C interface of a compiled model ----------------*- C -*-===*\
|*
|* What `qc-compile --emit=shared` exports beside `qc_model`. Plain C, usable
|* from ctypes; docs/ModelABI.md has an example. Strings are UTF-8. Functions
|* that return int64_t return -1 on failure, with one line in qc_error(). A
|* session is one sequence; use it from one thread at a time, several sessions
|* at once are fine.
|*
\*===----------------------------------------------------------------------===*/
#ifndef QC_RUNTIME_QCMODEL_H
#define QC_RUNTIME_QCMODEL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct QCSession QCSession;

/* Opens the model of this library. `path`: the file that holds the payload,
 * NULL for this library itself. `threads`: 0 for all CPUs of the process.
 * `context`: positions of the KV cache, 0 for the model's, at most 4096. NULL
 * on failure, with one line in `error` [error_size] (may be NULL): no such
 * file, damaged payload, CPU features missing, no memory. */
QCSession *qc_open(const char *path, int64_t threads, int64_t context,
                   char *error, int64_t error_size);
void qc_close(QCSession *session);

/* Of the last failure of this session; empty if none. */
const char *qc_error(const QCSession *session);

int64_t qc_vocab_size(const QCSession *session);
int64_t qc_context_size(const QCSession *session);

/* Section "metadata": a JSON object, see docs/ModelABI.md. */
const char *qc_metadata(const QCSession *session);

/* Ids of `text` [length bytes], without begin-of-text. With `parse_special`,
 * spellings of control tokens stand for them. Writes at most `capacity` ids and
 * returns how many there are. Fails without a tokenizer or on invalid UTF-8. */
int64_t qc_encode(QCSession *session, const char *text, int64_t length,
                  int32_t parse_special, int32_t *ids, int64_t capacity);

/* Bytes that token `id` adds in the middle of a text; they need not be whole
 * UTF-8 characters. Writes at most `capacity` bytes, no terminator, and returns
 * how many there are. */
int64_t qc_decode_token(QCSession *session, int32_t id, char *bytes,
                        int64_t capacity);

/* Runs the model over ids [n] at positions [position, position + n): position
 * must not exceed the tokens evaluated so far; later ones are forgotten.
 * logits [vocab_size]: of the last token. Returns the new number of tokens. */
int64_t qc_eval(QCSession *session, const int32_t *ids, int64_t n,
                int64_t position, float *logits);

/* As qc_eval, with the logits [n, vocab_size] of every token. */
int64_t qc_score(QCSession *session, const int32_t *ids, int64_t n,
                 int64_t position, float *logits);

#ifdef __cplusplus
}
#endif

#endif /* QC_RUNTIME_QCMODEL_H */
