//===- OutputFileTest.cpp --------------------------------------------------===//

#include "otodus/Formats/OutputFile.h"

#include "TestSupport.h"

using namespace otodus;
using namespace otodus::formats;
using namespace otodus::test;

TEST(OutputFile, AppearsOnFinishOnly) {
  TemporaryFolder folder;
  {
    Result<OutputFile> file = OutputFile::create(folder / "a");
    ASSERT_TRUE(file.isOk()) << file.status().message();
    ASSERT_TRUE(file->write("hello", 5).isOk());
    EXPECT_FALSE(std::filesystem::exists(folder / "a"));
    ASSERT_TRUE(file->finish().isOk());
  }
  EXPECT_EQ(readText(folder / "a"), "hello");
  EXPECT_EQ(folder.entries(), 1u);
}

TEST(OutputFile, LeavesNothingWhenAbandoned) {
  TemporaryFolder folder;
  writeText(folder / "a", "before");
  {
    Result<OutputFile> file = OutputFile::create(folder / "a");
    ASSERT_TRUE(file.isOk());
    ASSERT_TRUE(file->write("after", 5).isOk());
  }
  EXPECT_EQ(readText(folder / "a"), "before");
  EXPECT_EQ(folder.entries(), 1u);
}

TEST(OutputFile, PadsAndOverwrites) {
  TemporaryFolder folder;
  Result<OutputFile> file = OutputFile::create(folder / "a");
  ASSERT_TRUE(file.isOk());
  std::string large(600000, 'x');
  ASSERT_TRUE(file->write("abc", 3).isOk());
  ASSERT_TRUE(file->pad(64).isOk());
  EXPECT_EQ(file->offset(), 64u);
  ASSERT_TRUE(file->write(large.data(), large.size()).isOk());
  ASSERT_TRUE(file->writeAt(1, "Z", 1).isOk());
  ASSERT_TRUE(file->write("end", 3).isOk());
  ASSERT_TRUE(file->finish().isOk());
  EXPECT_EQ(readText(folder / "a"), "aZc" + std::string(61, '\0') + large + "end");
}

TEST(OutputFile, RefusesDirectoriesAndMissingFolders) {
  TemporaryFolder folder;
  expectError(writeFile(folder.path(), "x", 1), Code::File, {folder.path(), "directory"});
  expectError(writeFile(folder / "no/such", "x", 1), Code::File, {"no/such", "No such file"});
  expectError(writeFile("/dev/full", "x", 1), Code::File, {"not a regular file"});
  expectError(writeFile("", "x", 1), Code::File, {"without a name"});
  EXPECT_EQ(folder.entries(), 0u);
}

TEST(OutputFile, FullDisk) {
  TemporaryFolder folder;
  std::string large(1 << 20, 'x');
  std::string found = onSmallDisk(folder.path(), "size=64k", [&] {
    return writeFile(folder / "a", large.data(), large.size());
  });
  if (found.empty())
    GTEST_SKIP() << "mounting a small file system is not allowed here";
  EXPECT_EQ(found, "5 cannot write '" + (folder / "a") +
                       "': No space left on device; free some space or choose another folder "
                       "[0 files left]");
}

TEST(OutputFile, ReadOnlyDisk) {
  TemporaryFolder folder;
  std::string found =
      onSmallDisk(folder.path(), "ro", [&] { return writeFile(folder / "a", "x", 1); });
  if (found.empty())
    GTEST_SKIP() << "mounting a small file system is not allowed here";
  EXPECT_EQ(found, "3 cannot write '" + (folder / "a") + "': Read-only file system [0 files left]");
}

TEST(ReadFile, LimitsAndErrors) {
  TemporaryFolder folder;
  writeText(folder / "a", "0123456789");
  EXPECT_EQ(*readFile(folder / "a"), "0123456789");
  expectError(readFile(folder / "a", 5).status(), Code::File, {"larger than 5 bytes"});
  expectError(readFile(folder / "b").status(), Code::File, {"cannot open", "No such file"});
  expectError(readFile(folder.path()).status(), Code::File, {"directory"});
}
