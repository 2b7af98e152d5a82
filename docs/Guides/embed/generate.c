/* generate MODEL.oto PROMPT COUNT: continues the prompt by COUNT bytes, always taking the
   byte the model finds most likely. For models with byte tokens. See ../Embed.md. */

#include <otodus/otodus.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One line on stderr; the status is the exit code. */
static int failed(otodus_status status) {
  fprintf(stderr, "generate: %s\n", otodus_last_error());
  return (int)status;
}

int main(int argc, char **argv) {
  if (argc != 4 || argv[2][0] == 0) {
    fprintf(stderr, "usage: generate MODEL.oto PROMPT COUNT\n");
    return OTODUS_ERROR_USAGE;
  }

  /* The model: code and weights, shared by all sessions. */
  otodus_model *model;
  otodus_status status = otodus_model_open(argv[1], NULL, &model);
  if (status != OTODUS_OK)
    return failed(status);
  int64_t classes = otodus_model_logit_count(model);

  /* A session: one stream of tokens and what it carries along. */
  otodus_session *session;
  status = otodus_session_create(model, /*batch=*/1, /*threads=*/0, &session);
  if (status != OTODUS_OK)
    return failed(status);

  /* The prompt in one call. */
  size_t length = strlen(argv[2]);
  int32_t *tokens = malloc(length * sizeof(int32_t));
  if (!tokens)
    return OTODUS_ERROR_DEVICE;
  for (size_t i = 0; i < length; ++i)
    tokens[i] = (unsigned char)argv[2][i];
  status = otodus_session_feed(session, tokens, (int64_t)length);
  free(tokens);
  if (status != OTODUS_OK)
    return failed(status);
  fputs(argv[2], stdout);

  /* Then token by token, each call fed with the answer of the one before. */
  for (long left = strtol(argv[3], NULL, 10); left > 0; --left) {
    const float *logits = otodus_session_logits(session);
    int32_t best = 0;
    for (int32_t i = 1; i < classes; ++i)
      if (logits[i] > logits[best])
        best = i;
    putchar(best);
    fflush(stdout);
    status = otodus_session_feed(session, &best, 1);
    if (status != OTODUS_OK)
      return failed(status);
  }
  putchar('\n');

  otodus_session_destroy(session);
  otodus_model_close(model);
  return 0;
}
