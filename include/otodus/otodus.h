/*===- otodus.h - Compiled models in other programs ------------------------===*\
|*
|* The C API of the runtime (C99). A program that uses it links libotodus.so and
|* needs no compiler, no LLVM and no C++.
|*
|* Every function that can fail returns an otodus_status; otodus_last_error() then
|* gives one line of text. Nothing is written to stdout or stderr and the program is
|* never ended.
|*
|* Threads: a model may be used from any number of threads. A session may be used
|* from any thread, but from one at a time.
|*
|* docs/Guides/Embed.md walks through a first program.
|*
\*===----------------------------------------------------------------------===*/

#ifndef OTODUS_OTODUS_H
#define OTODUS_OTODUS_H

#include <stdint.h>

#if defined(__GNUC__)
#define OTODUS_API __attribute__((visibility("default")))
#else
#define OTODUS_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The same numbers as the exit codes of the program `otodus`. */
typedef enum otodus_status {
  OTODUS_OK = 0,
  OTODUS_ERROR_INPUT = 1,    /* a token outside the vocabulary */
  OTODUS_ERROR_USAGE = 2,    /* a null pointer, a batch of 0 */
  OTODUS_ERROR_FILE = 3,     /* missing, damaged, of another version or model */
  OTODUS_ERROR_TARGET = 4,   /* compiled for a processor that this one is not */
  OTODUS_ERROR_DEVICE = 5,   /* out of memory, disk full */
  OTODUS_ERROR_INTERNAL = 70 /* a fault of this library */
} otodus_status;

/* An open artefact: code and weights. Owned by the caller until otodus_model_close;
   sessions keep what they need, so the order of closing does not matter. */
typedef struct otodus_model otodus_model;

/* `batch` streams of tokens through one model and what they carry along, which is of
   constant size however many tokens were fed. */
typedef struct otodus_session otodus_session;

/* "0.1.0". Static. */
OTODUS_API const char *otodus_version(void);

/* What went wrong in the last call of this thread that failed: one line without a line
   break, "" if none did. Valid until the next failing call of this thread. */
OTODUS_API const char *otodus_last_error(void);

/* Opens an artefact made by `otodus compile`. `weights_path` names the checkpoint
   (model.safetensors or its folder) of an artefact compiled with --weights=reference;
   NULL: weights are embedded, or where the artefact says. On success *model is the
   caller's; on failure it is NULL.
   Errors: FILE, TARGET, DEVICE. */
OTODUS_API otodus_status otodus_model_open(const char *artefact_path, const char *weights_path,
                                           otodus_model **model);

/* Gives up the model. NULL is allowed. */
OTODUS_API void otodus_model_close(otodus_model *model);

/* Tokens are numbers from 0 to this minus 1. 0 if the artefact is no language model. */
OTODUS_API int64_t otodus_model_vocabulary(const otodus_model *model);

/* Logits per token; the vocabulary's size unless the model scores other classes. 0 if
   the artefact is no language model. */
OTODUS_API int64_t otodus_model_logit_count(const otodus_model *model);

/* Bytes of the weights in memory. */
OTODUS_API int64_t otodus_model_weight_bytes(const otodus_model *model);

/* Starts `batch` >= 1 fresh sequences. `threads`: that compute, the calling one
   included; 0 = one per processor. Results do not depend on it.
   Errors: USAGE, DEVICE. */
OTODUS_API otodus_status otodus_session_create(const otodus_model *model, int64_t batch,
                                               int threads, otodus_session **session);

/* Ends the session. NULL is allowed. */
OTODUS_API void otodus_session_destroy(otodus_session *session);

/* Feeds tokens[batch][length], row-major, after everything fed so far. Afterwards
   otodus_session_logits gives the scores of the token that follows. Length 0 changes
   nothing.
   Errors: INPUT (a token outside the vocabulary: the session is unchanged), USAGE,
   DEVICE. */
OTODUS_API otodus_status otodus_session_feed(otodus_session *session, const int32_t *tokens,
                                             int64_t length);

/* As otodus_session_feed, and stores the logits after every token:
   logits[batch][length][logit_count], row-major, the caller's.
   Errors: as otodus_session_feed. */
OTODUS_API otodus_status otodus_session_score(otodus_session *session, const int32_t *tokens,
                                              int64_t length, float *logits);

/* logits[batch][logit_count] after the last token fed, or NULL if none was fed since the
   session was created, reset or restored. Owned by the session, valid until its next
   call. */
OTODUS_API const float *otodus_session_logits(const otodus_session *session);

/* Sequences of the session. */
OTODUS_API int64_t otodus_session_batch(const otodus_session *session);

/* Tokens fed to sequence `index` since its start; -1 if there is no such sequence. */
OTODUS_API int64_t otodus_session_position(const otodus_session *session, int64_t index);

/* Back to fresh sequences; keeps the memory. */
OTODUS_API otodus_status otodus_session_reset(otodus_session *session);

/* Another session in the same state, which goes its own way from here; it shares the
   threads of the first. On failure *copy is NULL. Errors: DEVICE. */
OTODUS_API otodus_status otodus_session_fork(const otodus_session *session, otodus_session **copy);

/* Writes the state to a file, whole or not at all. Errors: FILE, DEVICE. */
OTODUS_API otodus_status otodus_session_save(const otodus_session *session, const char *path);

/* Continues where a saved session stood. Errors: FILE (damaged, of another model, compute
   type, version or batch): the session is unchanged. */
OTODUS_API otodus_status otodus_session_restore(otodus_session *session, const char *path);

#ifdef __cplusplus
}
#endif

#endif
