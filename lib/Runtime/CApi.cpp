//===- CApi.cpp - The C API ------------------------------------------------===//
//
// Nothing thrown below (the standard library out of memory) may reach a C program, so
// every function that can allocate runs inside `guarded`.
//
//===----------------------------------------------------------------------===//

#include "otodus/Runtime/Session.h"
#include "otodus/otodus.h"

#include <algorithm>
#include <exception>
#include <new>

using otodus::Code;
using otodus::Result;
using otodus::Status;
using otodus::runtime::Model;
using otodus::runtime::Session;
namespace formats = otodus::formats;

struct otodus_model {
  std::shared_ptr<const Model> model;
  int64_t vocabulary = 0, logits = 0;
};

struct otodus_session {
  std::shared_ptr<const Model> model;
  std::unique_ptr<Session> session;
  std::vector<float> logits; ///< [batch][logit_count]
  bool hasLogits = false;
  int64_t logitCount = 0;
};

namespace {

/// Fixed, so that reporting a lack of memory needs none.
thread_local char lastError[1024] = "";

otodus_status fail(Code code, const char *message) {
  size_t i = 0;
  for (; message[i] && i + 1 < sizeof(lastError); ++i)
    lastError[i] = message[i] == '\n' ? ' ' : message[i];
  lastError[i] = 0;
  return static_cast<otodus_status>(code);
}

otodus_status usage(const char *message) { return fail(Code::Usage, message); }

template <typename Fn> otodus_status guarded(Fn &&fn) {
  try {
    Status status = fn();
    return status.isOk() ? OTODUS_OK : fail(status.code(), status.message().c_str());
  } catch (const std::bad_alloc &) {
    return fail(Code::Device, "out of memory");
  } catch (const std::exception &error) {
    return fail(Code::Internal, error.what());
  } catch (...) {
    return fail(Code::Internal, "unknown exception");
  }
}

int64_t logitCount(const Model &model) {
  const formats::Function *prefill = model.function("prefill");
  if (!prefill)
    return 0;
  for (const formats::Argument &output : prefill->outputs)
    if (output.name == "logits")
      return output.width.logical();
  return 0;
}

Status run(otodus_session &session, const char *function, const int32_t *tokens, int64_t length,
           float *logits, std::vector<int64_t> shape) {
  if (session.logitCount == 0)
    return Status(Code::Usage, "the artefact is no language model: it has no function 'prefill' "
                               "from tokens to logits");
  int64_t batch = session.session->batch();
  return session.session->run(function,
                              {{"tokens", {formats::DType::I32, {batch, length}, tokens}}},
                              {{"logits", {formats::DType::F32, std::move(shape), logits}}});
}

} // namespace

#ifndef OTODUS_VERSION
#error "the build defines OTODUS_VERSION"
#endif

const char *otodus_version(void) { return OTODUS_VERSION; }

const char *otodus_last_error(void) { return lastError; }

otodus_status otodus_model_open(const char *artefact_path, const char *weights_path,
                                otodus_model **model) {
  if (!model)
    return usage("otodus_model_open: model is null");
  *model = nullptr;
  if (!artefact_path)
    return usage("otodus_model_open: artefact_path is null");
  return guarded([&]() -> Status {
    Result<std::shared_ptr<const Model>> opened =
        Model::openFile(artefact_path, weights_path ? weights_path : "");
    if (!opened.isOk())
      return opened.status();
    *model = new otodus_model{*opened, (*opened)->vocabulary(), logitCount(**opened)};
    return Status::ok();
  });
}

void otodus_model_close(otodus_model *model) { delete model; }

int64_t otodus_model_vocabulary(const otodus_model *model) { return model ? model->vocabulary : 0; }

int64_t otodus_model_logit_count(const otodus_model *model) { return model ? model->logits : 0; }

int64_t otodus_model_weight_bytes(const otodus_model *model) {
  return model ? model->model->weightBytes() : 0;
}

otodus_status otodus_session_create(const otodus_model *model, int64_t batch, int threads,
                                    otodus_session **session) {
  if (!session)
    return usage("otodus_session_create: session is null");
  *session = nullptr;
  if (!model)
    return usage("otodus_session_create: model is null");
  if (threads < 0)
    return usage("otodus_session_create: expected 0 or more threads");
  return guarded([&]() -> Status {
    otodus::runtime::SessionOptions options;
    options.batch = batch;
    otodus::runtime::ThreadPoolOptions pool;
    pool.threads = threads;
    options.pool = std::make_shared<otodus::runtime::ThreadPool>(pool);
    Result<std::unique_ptr<Session>> created = Session::create(model->model, options);
    if (!created.isOk())
      return created.status();
    auto result = std::make_unique<otodus_session>();
    result->model = model->model;
    result->session = std::move(*created);
    result->logitCount = model->logits;
    result->logits.resize(static_cast<size_t>(batch * model->logits));
    *session = result.release();
    return Status::ok();
  });
}

void otodus_session_destroy(otodus_session *session) { delete session; }

otodus_status otodus_session_feed(otodus_session *session, const int32_t *tokens, int64_t length) {
  if (!session)
    return usage("otodus_session_feed: session is null");
  if (length < 0 || (length > 0 && !tokens))
    return usage("otodus_session_feed: expected a length of at least 0 and its tokens");
  return guarded([&]() -> Status {
    OTODUS_RETURN_IF_ERROR(run(*session, "prefill", tokens, length, session->logits.data(),
                               {session->session->batch(), 1, session->logitCount}));
    session->hasLogits |= length > 0;
    return Status::ok();
  });
}

otodus_status otodus_session_score(otodus_session *session, const int32_t *tokens, int64_t length,
                                   float *logits) {
  if (!session)
    return usage("otodus_session_score: session is null");
  if (length < 0 || (length > 0 && (!tokens || !logits)))
    return usage("otodus_session_score: expected a length of at least 0, its tokens and room "
                 "for their logits");
  return guarded([&]() -> Status {
    int64_t batch = session->session->batch(), count = session->logitCount;
    OTODUS_RETURN_IF_ERROR(
        run(*session, "forward", tokens, length, logits, {batch, length, count}));
    for (int64_t b = 0; length > 0 && b < batch; ++b)
      std::copy_n(logits + (b * length + length - 1) * count, count,
                  session->logits.data() + b * count);
    session->hasLogits |= length > 0;
    return Status::ok();
  });
}

const float *otodus_session_logits(const otodus_session *session) {
  return session && session->hasLogits ? session->logits.data() : nullptr;
}

int64_t otodus_session_batch(const otodus_session *session) {
  return session ? session->session->batch() : 0;
}

int64_t otodus_session_position(const otodus_session *session, int64_t index) {
  if (!session || index < 0 || index >= session->session->batch())
    return -1;
  return session->session->positions()[static_cast<size_t>(index)];
}

otodus_status otodus_session_reset(otodus_session *session) {
  if (!session)
    return usage("otodus_session_reset: session is null");
  return guarded([&]() -> Status {
    session->session->reset();
    session->hasLogits = false;
    return Status::ok();
  });
}

otodus_status otodus_session_fork(const otodus_session *session, otodus_session **copy) {
  if (!copy)
    return usage("otodus_session_fork: copy is null");
  *copy = nullptr;
  if (!session)
    return usage("otodus_session_fork: session is null");
  return guarded([&]() -> Status {
    Result<std::unique_ptr<Session>> forked = session->session->fork();
    if (!forked.isOk())
      return forked.status();
    auto result = std::make_unique<otodus_session>();
    result->model = session->model;
    result->session = std::move(*forked);
    result->logits = session->logits;
    result->hasLogits = session->hasLogits;
    result->logitCount = session->logitCount;
    *copy = result.release();
    return Status::ok();
  });
}

otodus_status otodus_session_save(const otodus_session *session, const char *path) {
  if (!session || !path)
    return usage("otodus_session_save: session or path is null");
  return guarded([&] { return session->session->save(path); });
}

otodus_status otodus_session_restore(otodus_session *session, const char *path) {
  if (!session || !path)
    return usage("otodus_session_restore: session or path is null");
  return guarded([&]() -> Status {
    OTODUS_RETURN_IF_ERROR(session->session->restore(path));
    session->hasLogits = false;
    return Status::ok();
  });
}
