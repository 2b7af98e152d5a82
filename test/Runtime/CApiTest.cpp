//===- CApiTest.cpp - The C API as a program sees it -----------------------===//
//
// Linked against libotodus.so; OtodusFormats only writes the artefact.
//
//===----------------------------------------------------------------------===//

#include "LetterModel.h"
#include "otodus/Formats/Safetensors.h"
#include "otodus/otodus.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <thread>

#include <unistd.h>

namespace {

std::vector<int32_t> bytesOf(const std::string &text) { return {text.begin(), text.end()}; }

char best(const float *logits) {
  return static_cast<char>(std::max_element(logits, logits + 256) - logits);
}

class CApi : public ::testing::Test {
protected:
  std::filesystem::path folder;
  otodus_model *model = nullptr;
  otodus_session *session = nullptr;

  void SetUp() override {
    folder = std::filesystem::temp_directory_path() / ("otodus-capi-" + std::to_string(getpid()));
    std::filesystem::create_directories(folder);
    otodus::Status written = letters::write(path("model.oto"));
    ASSERT_TRUE(written.isOk()) << written.message();
    ASSERT_EQ(otodus_model_open(path("model.oto").c_str(), nullptr, &model), OTODUS_OK)
        << otodus_last_error();
  }
  void TearDown() override {
    otodus_session_destroy(session);
    otodus_model_close(model);
    std::filesystem::remove_all(folder);
  }
  std::string path(const std::string &name) { return (folder / name).string(); }
  void start(int64_t batch = 1, int threads = 2) {
    ASSERT_EQ(otodus_session_create(model, batch, threads, &session), OTODUS_OK)
        << otodus_last_error();
  }
  otodus_status feed(otodus_session *to, const std::string &text) {
    std::vector<int32_t> tokens = bytesOf(text);
    return otodus_session_feed(to, tokens.data(),
                               static_cast<int64_t>(text.size()) / otodus_session_batch(to));
  }
};

TEST_F(CApi, FeedsAndScores) {
  EXPECT_STREQ(otodus_version(), OTODUS_VERSION);
  EXPECT_EQ(otodus_model_vocabulary(model), 256);
  EXPECT_EQ(otodus_model_logit_count(model), 256);
  EXPECT_EQ(otodus_model_weight_bytes(model), 128);
  start();
  EXPECT_EQ(otodus_session_logits(session), nullptr);
  std::string text = "To be, or not to be";
  ASSERT_EQ(feed(session, text), OTODUS_OK) << otodus_last_error();
  EXPECT_EQ(best(otodus_session_logits(session)), letters::next(text));
  EXPECT_EQ(otodus_session_position(session, 0), 19);
  EXPECT_EQ(otodus_session_position(session, 1), -1);
  for (int i = 0; i < 40; ++i) {
    char c = best(otodus_session_logits(session));
    EXPECT_EQ(c, letters::next(text));
    text += c;
    ASSERT_EQ(feed(session, std::string(1, c)), OTODUS_OK);
  }
  ASSERT_EQ(otodus_session_reset(session), OTODUS_OK);
  EXPECT_EQ(otodus_session_logits(session), nullptr);
  std::vector<int32_t> tokens = bytesOf(text);
  std::vector<float> logits(tokens.size() * 256);
  ASSERT_EQ(otodus_session_score(session, tokens.data(), static_cast<int64_t>(tokens.size()),
                                 logits.data()),
            OTODUS_OK);
  for (size_t t = 0; t < text.size(); ++t)
    EXPECT_EQ(best(&logits[t * 256]), letters::next(text.substr(0, t + 1)));
  EXPECT_EQ(best(otodus_session_logits(session)), letters::next(text));
}

TEST_F(CApi, Batch) {
  start(3);
  ASSERT_EQ(feed(session, "abcdefghi"), OTODUS_OK);
  const float *logits = otodus_session_logits(session);
  EXPECT_EQ(best(logits), letters::next("abc"));
  EXPECT_EQ(best(logits + 256), letters::next("def"));
  EXPECT_EQ(best(logits + 512), letters::next("ghi"));
  ASSERT_EQ(otodus_session_feed(session, nullptr, 0), OTODUS_OK);
  EXPECT_EQ(otodus_session_position(session, 2), 3);
}

TEST_F(CApi, SaveRestoreFork) {
  start();
  ASSERT_EQ(feed(session, "once upon"), OTODUS_OK);
  ASSERT_EQ(otodus_session_save(session, path("state").c_str()), OTODUS_OK) << otodus_last_error();
  otodus_session *fork = nullptr;
  ASSERT_EQ(otodus_session_fork(session, &fork), OTODUS_OK);
  EXPECT_EQ(best(otodus_session_logits(fork)), letters::next("once upon"));
  // Sessions outlive the model's handle and each other.
  otodus_session *other = nullptr;
  ASSERT_EQ(otodus_session_create(model, 1, 1, &other), OTODUS_OK);
  otodus_model_close(model);
  model = nullptr;
  ASSERT_EQ(feed(session, " a time"), OTODUS_OK);
  otodus_session_destroy(session);
  session = nullptr;
  ASSERT_EQ(feed(fork, " a dream"), OTODUS_OK);
  EXPECT_EQ(best(otodus_session_logits(fork)), letters::next("once upon a dream"));
  ASSERT_EQ(otodus_session_restore(other, path("state").c_str()), OTODUS_OK) << otodus_last_error();
  EXPECT_EQ(otodus_session_position(other, 0), 9);
  EXPECT_EQ(otodus_session_logits(other), nullptr);
  ASSERT_EQ(feed(other, " a time"), OTODUS_OK);
  EXPECT_EQ(best(otodus_session_logits(other)), letters::next("once upon a time"));
  otodus_session_destroy(fork);
  otodus_session_destroy(other);
}

TEST_F(CApi, SaysWhatWentWrong) {
  auto fails = [](otodus_status status, otodus_status expected, const char *word) {
    EXPECT_EQ(status, expected);
    EXPECT_NE(std::string(otodus_last_error()).find(word), std::string::npos)
        << otodus_last_error();
    EXPECT_EQ(std::string(otodus_last_error()).find('\n'), std::string::npos);
  };
  start();
  fails(feed(session, "abc\xf0"), OTODUS_ERROR_INPUT, "token id -16");
  int32_t big = 256;
  fails(otodus_session_feed(session, &big, 1), OTODUS_ERROR_INPUT, "vocabulary of 256");
  EXPECT_EQ(otodus_session_position(session, 0), 0);
  fails(otodus_session_feed(session, nullptr, 3), OTODUS_ERROR_USAGE, "tokens");
  fails(otodus_session_feed(nullptr, &big, 1), OTODUS_ERROR_USAGE, "null");
  otodus_session *none = session;
  fails(otodus_session_create(model, 0, 1, &none), OTODUS_ERROR_USAGE, "batch");
  EXPECT_EQ(none, nullptr);
  fails(otodus_session_create(model, 1, -1, &none), OTODUS_ERROR_USAGE, "threads");
  otodus_model *other = model;
  fails(otodus_model_open(path("gone.oto").c_str(), nullptr, &other), OTODUS_ERROR_FILE,
        "gone.oto");
  EXPECT_EQ(other, nullptr);
  fails(otodus_model_open(nullptr, nullptr, &other), OTODUS_ERROR_USAGE, "null");
  fails(otodus_session_restore(session, path("model.oto").c_str()), OTODUS_ERROR_FILE, "model.oto");
  fails(otodus_session_save(session, folder.string().c_str()), OTODUS_ERROR_FILE,
        folder.string().c_str());
  otodus_model_close(nullptr);
  otodus_session_destroy(nullptr);
  EXPECT_EQ(otodus_session_logits(nullptr), nullptr);
  // The text belongs to the thread.
  std::thread([] { EXPECT_STREQ(otodus_last_error(), ""); }).join();
}

TEST_F(CApi, WeightsFromACheckpoint) {
  ASSERT_TRUE(letters::write(path("bare.oto"), false).isOk());
  otodus_model *bare = nullptr;
  EXPECT_EQ(otodus_model_open(path("bare.oto").c_str(), nullptr, &bare), OTODUS_ERROR_FILE);
  EXPECT_NE(std::string(otodus_last_error()).find("--weights=embed"), std::string::npos)
      << otodus_last_error();
  float w = letters::kWeight;
  otodus::Status written = otodus::formats::writeSafetensors(
      path("model.safetensors"), {{"w", otodus::formats::TensorType::F32, {1}, &w}});
  ASSERT_TRUE(written.isOk()) << written.message();
  for (const std::string &where : {path("model.safetensors"), folder.string()}) {
    ASSERT_EQ(otodus_model_open(path("bare.oto").c_str(), where.c_str(), &bare), OTODUS_OK)
        << otodus_last_error();
    otodus_session *one = nullptr;
    ASSERT_EQ(otodus_session_create(bare, 1, 1, &one), OTODUS_OK);
    ASSERT_EQ(feed(one, "xyz"), OTODUS_OK);
    EXPECT_EQ(best(otodus_session_logits(one)), letters::next("xyz"));
    otodus_session_destroy(one);
    otodus_model_close(bare);
  }
}

TEST_F(CApi, RefusesCodeForAnotherProcessor) {
  otodus::formats::Artefact artefact = letters::artefact();
  artefact.programs[0].code[0].target = "cpu:x86-64-v9";
  artefact.programs[0].code[0].features = {"sse2", "avx9000"};
  ASSERT_TRUE(otodus::formats::writeArtefact(path("v9.oto"), artefact).isOk());
  otodus_model *none = nullptr;
  // Also where no checkpoint is: which weights are needed follows from the code in use.
  EXPECT_EQ(otodus_model_open(path("v9.oto").c_str(), folder.string().c_str(), &none),
            OTODUS_ERROR_TARGET);
  float w = letters::kWeight;
  ASSERT_TRUE(otodus::formats::writeSafetensors(path("model.safetensors"),
                                                {{"w", otodus::formats::TensorType::F32, {1}, &w}})
                  .isOk());
  EXPECT_EQ(otodus_model_open(path("v9.oto").c_str(), folder.string().c_str(), &none),
            OTODUS_ERROR_TARGET);
  EXPECT_NE(std::string(otodus_last_error()).find("avx9000"), std::string::npos)
      << otodus_last_error();
  EXPECT_EQ(none, nullptr);
}

TEST_F(CApi, RefusesADamagedArtefact) {
  std::ifstream in(path("model.oto"), std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(in)), {});
  otodus_model *damaged = nullptr;
  for (size_t keep : {size_t(0), size_t(10), bytes.size() / 2, bytes.size() - 1}) {
    std::ofstream(path("cut.oto"), std::ios::binary) << bytes.substr(0, keep);
    EXPECT_EQ(otodus_model_open(path("cut.oto").c_str(), nullptr, &damaged), OTODUS_ERROR_FILE)
        << keep;
  }
}

} // namespace
