//===- SafetensorsTest.cpp -------------------------------------------------===//

#include "otodus/Formats/Safetensors.h"

#include "TestSupport.h"

using namespace otodus;
using namespace otodus::formats;
using namespace otodus::test;

namespace {
/// A file with this header and `data` bytes of data, as memory.
std::string fileOf(const std::string &header, size_t data) {
  uint64_t length = header.size();
  std::string bytes(reinterpret_cast<const char *>(&length), 8);
  return bytes + header + std::string(data, '\1');
}

Result<SafetensorsFile> parse(const std::string &bytes) {
  return SafetensorsFile::parse(reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size(),
                                "a.safetensors");
}

void refused(const std::string &header, size_t data, const std::vector<std::string> &parts) {
  std::string bytes = fileOf(header, data);
  std::vector<std::string> all = parts;
  all.push_back("a.safetensors");
  expectError(parse(bytes).status(), Code::File, all);
}
} // namespace

TEST(Safetensors, RoundTrip) {
  TemporaryFolder folder;
  const std::vector<float> a = {1, 2, 3, 4, 5, 6};
  const int64_t count = 7;
  const uint8_t flags[3] = {0, 1, 1};
  ASSERT_TRUE(writeSafetensors(folder / "m", {{"count", TensorType::I64, {}, &count},
                                              {"a", TensorType::F32, {2, 3}, a.data()},
                                              {"empty", TensorType::BF16, {0, 5}, nullptr},
                                              {"flags", TensorType::Bool, {3}, flags}},
                               {{"op", "test \"quoted\""}})
                  .isOk());
  Result<SafetensorsFile> file = SafetensorsFile::open(folder / "m");
  ASSERT_TRUE(file.isOk()) << file.status().message();
  ASSERT_EQ(file->tensors().size(), 4u);
  EXPECT_EQ(file->tensors()[0].name, "count");
  EXPECT_EQ(file->metadata().at("op"), "test \"quoted\"");
  const Tensor *tensor = file->find("a");
  ASSERT_NE(tensor, nullptr);
  EXPECT_EQ(tensor->type, TensorType::F32);
  EXPECT_EQ(tensor->shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(tensor->elements(), 6);
  EXPECT_EQ(std::memcmp(tensor->data, a.data(), 24), 0);
  EXPECT_EQ(file->find("empty")->bytes, 0u);
  EXPECT_EQ(file->find("count")->elements(), 1);
  EXPECT_EQ(file->find("missing"), nullptr);
  EXPECT_EQ(file->headerHash().size(), 64u);
  EXPECT_EQ(file->tensors()[0].offset % 64, 0u);
  EXPECT_EQ(folder.entries(), 1u);
}

TEST(Safetensors, DroppedPagesComeBack) {
  TemporaryFolder folder;
  std::vector<float> a(100000);
  for (size_t i = 0; i < a.size(); ++i)
    a[i] = float(i);
  ASSERT_TRUE(writeSafetensors(folder / "m", {{"a", TensorType::F32, {100000}, a.data()}}).isOk());
  Result<SafetensorsFile> file = SafetensorsFile::open(folder / "m");
  ASSERT_TRUE(file.isOk());
  const Tensor *tensor = file->find("a");
  EXPECT_EQ(std::memcmp(tensor->data, a.data(), tensor->bytes), 0);
  file->dropPages("a");
  file->dropPages("unknown");
  EXPECT_EQ(std::memcmp(tensor->data, a.data(), tensor->bytes), 0);
}

TEST(Safetensors, ReadsNumbersOfAllTypes) {
  const uint16_t halves[6] = {0x3c00, 0xc000, 0x0001, 0x7bff, 0x8000, 0x7c00};
  const uint16_t brains[2] = {0x3f80, 0xc0a0};
  const int8_t bytes[2] = {-3, 4};
  const double wide[2] = {0.1, -2};
  TemporaryFolder folder;
  ASSERT_TRUE(writeSafetensors(folder / "m", {{"wide", TensorType::F64, {2}, wide},
                                              {"half", TensorType::F16, {6}, halves},
                                              {"brain", TensorType::BF16, {2}, brains},
                                              {"bytes", TensorType::I8, {2}, bytes}})
                  .isOk());
  Result<SafetensorsFile> file = SafetensorsFile::open(folder / "m");
  ASSERT_TRUE(file.isOk());
  float f[6];
  ASSERT_TRUE(readAsFloat(*file->find("half"), 0, 6, f).isOk());
  EXPECT_EQ(f[0], 1);
  EXPECT_EQ(f[1], -2);
  EXPECT_EQ(f[2], 0x1p-24f);
  EXPECT_EQ(f[3], 65504);
  EXPECT_TRUE(std::signbit(f[4]));
  EXPECT_TRUE(std::isinf(f[5]));
  ASSERT_TRUE(readAsFloat(*file->find("brain"), 1, 1, f).isOk());
  EXPECT_EQ(f[0], -5);
  ASSERT_TRUE(readAsFloat(*file->find("wide"), 0, 2, f).isOk());
  EXPECT_EQ(f[0], 0.1f);
  double d[2];
  ASSERT_TRUE(readAsDouble(*file->find("bytes"), 0, 2, d).isOk());
  EXPECT_EQ(d[0], -3);
  expectError(readAsFloat(*file->find("bytes"), 0, 2, f), Code::File, {"'bytes'", "I8"});
  expectError(readAsFloat(*file->find("wide"), 1, 2, f), Code::Internal, {"'wide'"});
}

TEST(Safetensors, MissingFileDirectoryAndEmpty) {
  TemporaryFolder folder;
  expectError(SafetensorsFile::open(folder / "none").status(), Code::File,
              {"cannot open", folder / "none", "No such file"});
  expectError(SafetensorsFile::open(folder.path()).status(), Code::File, {"directory"});
  writeText(folder / "empty", "");
  expectError(SafetensorsFile::open(folder / "empty").status(), Code::File, {"8 bytes", "found 0"});
}

TEST(Safetensors, HeaderBeyondTheFile) {
  std::string bytes = fileOf("{}", 0);
  bytes[0] = 100;
  expectError(parse(bytes).status(), Code::File, {"header's length is 100", "only 2 bytes"});
  std::memset(bytes.data(), 0xff, 8);
  expectError(parse(bytes).status(), Code::File, {"18446744073709551615"});
}

TEST(Safetensors, EveryTruncationIsRefused) {
  const std::string whole =
      fileOf(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8);
  ASSERT_TRUE(parse(whole).isOk());
  for (size_t size = 0; size < whole.size(); ++size) {
    Status status = parse(whole.substr(0, size)).status();
    EXPECT_EQ(int(status.code()), int(Code::File)) << size;
  }
  expectError(parse(whole.substr(0, whole.size() - 1)).status(), Code::File,
              {"'a'", "outside the file", "7 bytes", "truncated"});
}

TEST(Safetensors, InvalidJson) {
  refused("{\"a\":\n  {\"dtype\" 1}}", 0, {"(header):2:", "invalid JSON"});
  refused("[]", 0, {"must be a JSON object", "array"});
  refused("{} x", 0, {"invalid JSON"});
  refused(std::string(100, '['), 0, {"nested deeper"});
  refused("{\"\xff\": 1}", 0, {"invalid JSON"});
}

TEST(Safetensors, Offsets) {
  const std::string a = R"("a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]})";
  refused("{" + a + R"(,"b":{"dtype":"U8","shape":[4],"data_offsets":[3,7]}})", 7,
          {"'a' and 'b' overlap", "offset 4", "begins at 3"});
  refused("{" + a + R"(,"b":{"dtype":"U8","shape":[4],"data_offsets":[6,10]}})", 10,
          {"gap of 2 bytes", "'b'"});
  refused("{" + a + R"(,"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})", 7,
          {"'b'", "[4, 8) lie outside", "7 bytes"});
  refused("{" + a + "}", 9, {"5 bytes follow"});
  refused(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[4,0]}})", 4, {"end before they begin"});
  refused(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0]}})", 4, {"two integers"});
  refused(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[-1,3]}})", 4, {"two integers"});
  refused(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,99999999999999999999999]}})", 4,
          {"two integers"});
}

TEST(Safetensors, TypesAndShapes) {
  refused(R"({"a":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}})", 4, {"unknown dtype 'F99'"});
  refused(R"({"a":{"dtype":3,"shape":[1],"data_offsets":[0,4]}})", 4, {"dtype must be a string"});
  refused(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4,
          {"[2] of F32 needs 8 bytes", "hold 4"});
  refused(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}})", 4,
          {"'a'", "overflows"});
  refused(R"({"a":{"dtype":"F32","shape":[9223372036854775807],"data_offsets":[0,4]}})", 4,
          {"too large"});
  refused(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4, {">= 0, found -1"});
  refused(R"({"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})", 4, {"a fraction"});
  refused(R"({"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}})", 2, {"whole bytes"});
  refused(R"({"a":{"dtype":"F32","shape":[1]}})", 4, {"'data_offsets' is missing"});
  refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}})", 4,
          {"unknown key 'x'"});
  refused(R"({"a":5})", 0, {"'a'", "expected an object"});
}

TEST(Safetensors, DuplicateNames) {
  refused(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
          R"("a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
          2, {"'a' appears twice"});
}

TEST(Safetensors, Metadata) {
  refused(R"({"__metadata__":{"a":1}})", 0, {"'__metadata__'", "'a'", "an integer"});
  refused(R"({"__metadata__":[]})", 0, {"'__metadata__' must be an object"});
}

TEST(Safetensors, AllNamesOfTheFormat) {
  for (const char *name : {"BOOL", "F4", "F6_E2M3", "F6_E3M2", "U8", "I8", "F8_E5M2", "F8_E4M3",
                           "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "I16", "U16", "F16", "BF16",
                           "I32", "U32", "F32", "C64", "F64", "I64", "U64"}) {
    // 8 elements of b bits are b bytes.
    for (size_t bytes : {4, 6, 8, 16, 32, 64}) {
      std::string text = fileOf(std::string(R"({"a":{"dtype":")") + name +
                                    R"(","shape":[8],"data_offsets":[0,)" + std::to_string(bytes) +
                                    "]}}",
                                bytes);
      Result<SafetensorsFile> file = parse(text);
      if (!file.isOk())
        continue;
      EXPECT_STREQ(nameOf(file->tensors()[0].type), name);
      EXPECT_EQ(size_t(bitsOf(file->tensors()[0].type)), bytes);
      goto found;
    }
    ADD_FAILURE() << name;
  found:;
  }
}

TEST(SafetensorsWriter, Refusals) {
  TemporaryFolder folder;
  const float x = 1;
  expectError(writeSafetensors(folder / "m", {{"a", TensorType::F32, {1}, &x},
                                              {"a", TensorType::F32, {1}, &x}}),
              Code::File, {"'a' is taken"});
  expectError(writeSafetensors(folder / "m", {{"a", TensorType::F32, {-1}, &x}}), Code::File,
              {"[-1]"});
  expectError(writeSafetensors(folder.path(), {{"a", TensorType::F32, {1}, &x}}), Code::File,
              {"directory"});
  {
    auto writer = SafetensorsWriter::create(folder / "m", {{"a", TensorType::F32, {2}}}, {});
    ASSERT_TRUE(writer.isOk());
    ASSERT_TRUE(writer->write(&x, 4).isOk());
    expectError(writer->finish(), Code::Internal, {"8 bytes", "4 came"});
  }
  EXPECT_EQ(folder.entries(), 0u);
}

TEST(SafetensorsWriter, FullDisk) {
  TemporaryFolder folder;
  std::vector<float> large(1 << 18);
  std::string found = onSmallDisk(folder.path(), "size=64k", [&] {
    return writeSafetensors(folder / "m", {{"a", TensorType::F32, {1 << 18}, large.data()}});
  });
  if (found.empty())
    GTEST_SKIP() << "mounting a small file system is not allowed here";
  EXPECT_EQ(found.substr(0, 15), "5 cannot write ");
  EXPECT_NE(found.find("[0 files left]"), found.npos) << found;
}
