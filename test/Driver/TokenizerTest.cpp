//===- TokenizerTest.cpp ---------------------------------------------------===//

#include "Tokenizer.h"

#include <cstdlib>
#include <filesystem>
#include <gtest/gtest.h>
#include <unistd.h>

using namespace otodus;
using namespace otodus::driver;
namespace fs = std::filesystem;

namespace {

TEST(Tokenizer, Bytes) {
  auto tokenizer = Tokenizer::create({}, ".", 256);
  ASSERT_TRUE(tokenizer.isOk());
  std::string text = "caf\xC3\xA9\n";
  auto tokens = (*tokenizer)->encode(text);
  ASSERT_TRUE(tokens.isOk());
  EXPECT_EQ(*tokens, (std::vector<int32_t>{'c', 'a', 'f', 0xC3, 0xA9, '\n'}));
  EXPECT_EQ((*tokenizer)->decode(*tokens), text);
  EXPECT_EQ((*tokenizer)->decode({'a', 300}), "a\xEF\xBF\xBD");
  EXPECT_EQ((*tokenizer)->bos(), -1);
}

TEST(Tokenizer, BytesOutsideASmallVocabulary) {
  auto tokenizer = Tokenizer::create({}, ".", 128);
  ASSERT_TRUE(tokenizer.isOk());
  EXPECT_TRUE((*tokenizer)->encode("plain").isOk());
  auto tokens = (*tokenizer)->encode("caf\xC3\xA9");
  ASSERT_FALSE(tokens.isOk());
  EXPECT_EQ(tokens.status().code(), Code::Input);
  EXPECT_NE(tokens.status().message().find("byte 195 at offset 3"), std::string::npos)
      << tokens.status().message();
}

/// A SentencePiece model trained on a text of this project, with byte fallback.
class SentencePieceTest : public testing::Test {
protected:
  static void SetUpTestSuite() {
    folder = fs::temp_directory_path() / ("otodus-tokenizer-" + std::to_string(::getpid()));
    fs::create_directories(folder);
    std::string command = "spm_train --input=" SOURCE_TEXT " --model_prefix=" + (folder / "text").string() +
                          " --vocab_size=500 --model_type=bpe --byte_fallback=true "
                          "--character_coverage=0.99 --num_threads=1 > " +
                          (folder / "log").string() + " 2>&1";
    trained = std::system(command.c_str()) == 0;
  }
  static void TearDownTestSuite() { fs::remove_all(folder); }

  std::unique_ptr<Tokenizer> open(int64_t additional = 0, int64_t vocabulary = 1000) {
    formats::TokenizerConfig config;
    config.path = "text.model";
    config.additional_vocab_size = additional;
    auto tokenizer = Tokenizer::create(config, folder.string(), vocabulary);
    EXPECT_TRUE(tokenizer.isOk()) << tokenizer.status().message();
    return tokenizer.isOk() ? std::move(*tokenizer) : nullptr;
  }

  static fs::path folder;
  static bool trained;
};
fs::path SentencePieceTest::folder;
bool SentencePieceTest::trained = false;

TEST_F(SentencePieceTest, RoundTrip) {
  ASSERT_TRUE(trained) << "spm_train failed";
  auto tokenizer = open();
  ASSERT_TRUE(tokenizer);
  std::string text = "the state of the norm is carried from chunk to chunk";
  auto tokens = tokenizer->encode(text);
  ASSERT_TRUE(tokens.isOk());
  EXPECT_LT(tokens->size(), text.size());
  EXPECT_EQ(tokenizer->decode(*tokens), text);
  EXPECT_EQ(tokenizer->bos(), 1);
  EXPECT_EQ(tokenizer->eos(), 2);
}

// What a stream shows is what decoding all at once gives, characters of several tokens
// (byte fallback) included, and never half a character.
TEST_F(SentencePieceTest, Streaming) {
  ASSERT_TRUE(trained);
  auto tokenizer = open();
  ASSERT_TRUE(tokenizer);
  for (std::string text : {"norm statistics, \xE6\xBC\xA2\xE5\xAD\x97 and \xF0\x9F\xA6\x88 teeth",
                           "a", "\xF0\x9F\xA6\x88\xF0\x9F\xA6\x88"}) {
    auto tokens = tokenizer->encode(text);
    ASSERT_TRUE(tokens.isOk());
    for (size_t context : {size_t(0), tokens->size() / 2}) {
      std::vector<int32_t> before(tokens->begin(), tokens->begin() + context);
      TextStream stream(*tokenizer, before);
      std::string shown = tokenizer->decode(before);
      if (!text.starts_with(shown))
        continue; // the cut is inside a character
      for (size_t i = context; i < tokens->size(); ++i) {
        shown += stream.push((*tokens)[i]);
        EXPECT_EQ(text.compare(0, shown.size(), shown), 0) << shown;
      }
      shown += stream.flush();
      EXPECT_EQ(shown, text);
    }
  }
}

TEST_F(SentencePieceTest, BrokenCharactersEnd) {
  ASSERT_TRUE(trained);
  auto tokenizer = open();
  ASSERT_TRUE(tokenizer);
  // The first byte of a character over and over: it never completes, but must not be held
  // back for ever.
  auto start = tokenizer->encode("\xF0\x9F\xA6\x88");
  ASSERT_TRUE(start.isOk());
  TextStream stream(*tokenizer, {});
  std::string shown;
  for (int i = 0; i < 20; ++i)
    shown += stream.push((*start)[start->size() - 4]);
  EXPECT_FALSE(shown.empty());
}

TEST_F(SentencePieceTest, MustFitTheModel) {
  ASSERT_TRUE(trained);
  formats::TokenizerConfig config;
  config.path = "text.model";
  auto tokenizer = Tokenizer::create(config, folder.string(), 128);
  ASSERT_FALSE(tokenizer.isOk());
  EXPECT_EQ(tokenizer.status().code(), Code::Input);

  config.path = "absent.model";
  tokenizer = Tokenizer::create(config, folder.string(), 1000);
  ASSERT_FALSE(tokenizer.isOk());
  EXPECT_EQ(tokenizer.status().code(), Code::File);

  config.path = SOURCE_TEXT;
  tokenizer = Tokenizer::create(config, folder.string(), 1000);
  ASSERT_FALSE(tokenizer.isOk());
  EXPECT_EQ(tokenizer.status().code(), Code::File);
}

TEST(StopFilter, HoldsBackWhatMayBecomeAStop) {
  StopFilter stop({"END", "\n\n"});
  EXPECT_EQ(stop.push("abcE"), "abc");
  EXPECT_EQ(stop.push("N"), "");
  EXPECT_EQ(stop.push("x\n"), "ENx");
  EXPECT_FALSE(stop.stopped());
  EXPECT_EQ(stop.push("y EN"), "\ny ");
  EXPECT_EQ(stop.push("D and more"), "");
  EXPECT_TRUE(stop.stopped());
  EXPECT_EQ(stop.push("never"), "");
}

TEST(StopFilter, FlushGivesTheRest) {
  StopFilter stop({"END"});
  EXPECT_EQ(stop.push("the EN"), "the ");
  EXPECT_EQ(stop.flush(), "EN");
  EXPECT_FALSE(stop.stopped());
}

} // namespace
