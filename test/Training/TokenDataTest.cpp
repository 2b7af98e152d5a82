//===- TokenDataTest.cpp ---------------------------------------------------===//

#include "TestSupport.h"
#include "otodus/Training/TokenData.h"

#include <random>

using namespace otodus;
using namespace otodus::training;
using test::expectError;
using test::TemporaryFolder;
using test::writeText;

namespace {
TextEncoder bytes() {
  TextEncoder encoder;
  encoder.encode = [](std::string_view text) -> Result<std::vector<int32_t>> {
    return std::vector<int32_t>(reinterpret_cast<const uint8_t *>(text.data()),
                                reinterpret_cast<const uint8_t *>(text.data()) + text.size());
  };
  return encoder;
}

/// Tokens of two bytes each; the vocabulary needs U16.
TextEncoder pairs() {
  TextEncoder encoder = bytes();
  encoder.encode = [](std::string_view text) -> Result<std::vector<int32_t>> {
    std::vector<int32_t> tokens;
    for (unsigned char c : text)
      tokens.push_back(1000 + c);
    return tokens;
  };
  encoder.bos = 1;
  encoder.eos = 2;
  encoder.vocabulary = 2000;
  encoder.bytes = false;
  return encoder;
}

std::vector<int32_t> all(const TokenData &data) {
  std::vector<int32_t> tokens(static_cast<size_t>(data.size()));
  data.read(0, data.size(), tokens.data());
  return tokens;
}
} // namespace

TEST(TokenData, BytesOfAText) {
  TemporaryFolder folder;
  writeText(folder / "a.txt", std::string("a\xff\0b", 4)); // not UTF-8: fine, bytes are tokens
  Result<TokenData> data =
      openTokenData({folder / "a.txt"}, "", "text", bytes(), "bytes", folder / "cache");
  ASSERT_TRUE(data.isOk()) << data.status().message();
  EXPECT_EQ(all(*data), (std::vector<int32_t>{'a', 255, 0, 'b'}));
  EXPECT_FALSE(std::filesystem::exists(folder / "cache")); // mapped as it is
}

TEST(TokenData, EmptyAndMissing) {
  TemporaryFolder folder;
  writeText(folder / "a.txt", "");
  writeText(folder / "b.jsonl", "\n\n");
  expectError(TokenData::openBytes(folder / "a.txt").status(), Code::Input, {"a.txt", "empty"});
  expectError(TokenData::openBytes(folder / "none").status(), Code::File, {"none"});
  expectError(openTokenData({folder / "b.jsonl"}, "", "text", bytes(), "b", folder / "c").status(),
              Code::Input, {"b.jsonl", "there is none"});
  expectError(openTokenData({}, "", "text", bytes(), "b", folder / "c").status(), Code::Usage,
              {"--data"});
}

TEST(TokenData, Jsonl) {
  TemporaryFolder folder;
  writeText(folder / "d.jsonl", "{\"text\": \"ab\", \"n\": 1}\n\n{\"text\":\"\"}\n{\"text\": \"c\\n\"}");
  Result<TokenData> data =
      openTokenData({folder / "d.jsonl"}, "", "text", bytes(), "bytes", folder / "cache");
  ASSERT_TRUE(data.isOk()) << data.status().message();
  EXPECT_EQ(all(*data), (std::vector<int32_t>{'a', 'b', 'c', '\n'}));
  EXPECT_EQ(data->documents(), 2);
  EXPECT_EQ(data->nextDocument(0), 0);
  EXPECT_EQ(data->nextDocument(1), 2);
  EXPECT_EQ(data->nextDocument(3), 4);
  // With a tokenizer every document has its BOS and EOS, also an empty one; types are wider.
  data = openTokenData({folder / "d.jsonl"}, "", "text", pairs(), "pairs", folder / "cache");
  ASSERT_TRUE(data.isOk()) << data.status().message();
  EXPECT_EQ(all(*data), (std::vector<int32_t>{1, 1097, 1098, 2, 1, 2, 1, 1099, 1010, 2}));
  EXPECT_EQ(data->documents(), 3);
  // The second time it is found.
  size_t before = std::distance(std::filesystem::directory_iterator(folder / "cache"), {});
  ASSERT_TRUE(openTokenData({folder / "d.jsonl"}, "", "text", pairs(), "pairs", folder / "cache").isOk());
  EXPECT_EQ(size_t(std::distance(std::filesystem::directory_iterator(folder / "cache"), {})), before);
}

TEST(TokenData, MalformedJsonlNamesTheLine) {
  TemporaryFolder folder;
  auto open = [&](const std::string &text) {
    writeText(folder / "d.jsonl", text);
    return openTokenData({folder / "d.jsonl"}, "", "text", bytes(), "bytes", folder / "cache").status();
  };
  expectError(open("{\"text\": \"a\"}\n{\"text\": \n"), Code::Input, {"d.jsonl:2:"});
  expectError(open("{\"text\": \"a\"}\n\n[1]\n"), Code::Input, {"d.jsonl:3:", "found array"});
  expectError(open("{\"txt\": \"a\"}\n"), Code::Input, {"d.jsonl:1:", "no field 'text'"});
  expectError(open("{\"text\": 3}\n"), Code::Input, {"d.jsonl:1:", "must be a string, found number"});
  expectError(open("{\"text\": \"\xff\"}\n"), Code::Input, {"d.jsonl:1:", "UTF-8"});
  EXPECT_TRUE(std::filesystem::is_empty(folder / "cache"));
}

TEST(TokenData, TokenFiles) {
  TemporaryFolder folder;
  writeText(folder / "x.safetensors", "not one");
  expectError(TokenData::openTokens(folder / "x.safetensors").status(), Code::File, {"x.safetensors"});
  for (int64_t vocabulary : {256, 60000, 100000}) {
    std::string path = folder / ("t" + std::to_string(vocabulary));
    std::vector<int32_t> tokens;
    Result<TokenFileWriter> writer = TokenFileWriter::create(path, vocabulary);
    ASSERT_TRUE(writer.isOk());
    for (int32_t i = 0; i < 1001; ++i) {
      tokens.push_back(static_cast<int32_t>((i * 7919) % vocabulary));
      if (i == 500)
        writer->beginDocument();
      ASSERT_TRUE(writer->append({tokens.back()}).isOk());
    }
    expectError(writer->append({static_cast<int32_t>(vocabulary)}), Code::Input, {"outside"});
    ASSERT_TRUE(writer->finish().isOk());
    Result<TokenData> data = TokenData::openTokens(path);
    ASSERT_TRUE(data.isOk()) << data.status().message();
    EXPECT_EQ(all(*data), tokens);
    EXPECT_EQ(data->documents(), 2);
    EXPECT_EQ(data->nextDocument(1), 500);
  }
}

TEST(TokenData, TextInBlocks) {
  // Blocks end behind lines; what is encoded is the whole text.
  TemporaryFolder folder;
  std::string text;
  while (text.size() < 3000000)
    text += "line " + std::to_string(text.size()) + (text.size() < 1500000 ? "\n" : " ");
  writeText(folder / "a.txt", text);
  Result<TokenData> data =
      openTokenData({folder / "a.txt"}, "", "text", pairs(), "pairs", folder / "cache");
  ASSERT_TRUE(data.isOk()) << data.status().message();
  ASSERT_EQ(data->size(), int64_t(text.size()) + 2);
  std::vector<int32_t> tokens = all(*data);
  for (size_t i = 0; i < text.size(); ++i)
    ASSERT_EQ(tokens[i + 1], 1000 + text[i]);
}

TEST(TokenData, PartsAndSlices) {
  std::mt19937 random(3);
  std::vector<int32_t> tokens(100);
  for (int32_t i = 0; i < 100; ++i)
    tokens[i] = i;
  TokenData data = TokenData::fromMemory({tokens.begin(), tokens.begin() + 40}, {0, 10, 39});
  data.append(TokenData::fromMemory({tokens.begin() + 40, tokens.begin() + 41}));
  data.append(TokenData::fromMemory({tokens.begin() + 41, tokens.end()}, {0, 30}));
  std::vector<int64_t> starts = {0, 10, 39, 40, 41, 71};
  for (int round = 0; round < 200; ++round) {
    int64_t begin = random() % 100, end = begin + 1 + random() % (100 - begin);
    TokenData part = data.slice(begin, end);
    ASSERT_EQ(part.size(), end - begin);
    EXPECT_EQ(all(part), std::vector<int32_t>(tokens.begin() + begin, tokens.begin() + end));
    int64_t count = 1;
    for (int64_t start : starts)
      count += start > begin && start < end;
    EXPECT_EQ(part.documents(), count) << begin << " " << end;
    int64_t position = random() % part.size(), expected = part.size();
    for (int64_t start : starts)
      if (start >= begin + position && start > begin && start < end)
        expected = std::min(expected, start - begin);
    if (position == 0)
      expected = 0;
    EXPECT_EQ(part.nextDocument(position), expected) << begin << " " << end << " " << position;
  }
  EXPECT_NE(data.fingerprint(), data.slice(1, 100).fingerprint());
}

TEST(TokenData, FullDisk) {
  TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 2000; ++i)
    text += "{\"text\": \"0123456789012345678901234567890123456789\"}\n";
  writeText(folder / "d.jsonl", text);
  std::filesystem::create_directory(folder / "small");
  std::string result = test::onSmallDisk(folder / "small", "size=16k", [&] {
    return openTokenData({folder / "d.jsonl"}, "", "text", bytes(), "b", folder / "small").status();
  });
  if (result.empty())
    GTEST_SKIP() << "this machine does not allow mounts";
  EXPECT_EQ(result.substr(0, 2), "5 ");
  EXPECT_NE(result.find("[0 files left]"), std::string::npos) << result;
}
