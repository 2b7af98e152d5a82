//===- RunFolderTest.cpp ---------------------------------------------------===//

#include "SmallRun.h"

#include <csignal>
#include <random>

using namespace otodus;
using namespace otodus::training;
using test::expectError;
using test::readText;
using test::TemporaryFolder;
using test::writeText;

TEST(RunFolder, TwoRunsInOneFolder) {
  TemporaryFolder folder;
  Result<RunFolder> first = RunFolder::open(folder / "out");
  ASSERT_TRUE(first.isOk());
  expectError(RunFolder::open(folder / "out").status(), Code::File,
              {"another run", "--out"});
  {
    Result<RunFolder> moved = RunFolder::open(folder / "out2");
    RunFolder taken = std::move(*moved);
    expectError(RunFolder::open(folder / "out2").status(), Code::File, {"another run"});
  }
  EXPECT_TRUE(RunFolder::open(folder / "out2").isOk()); // let go of
}

TEST(RunFolder, CheckpointsReadBack) {
  TemporaryFolder folder;
  SmallRun run(folder.path());
  Result<RunFolder> out = RunFolder::open(folder / "out");
  std::vector<float> values(128);
  for (int i = 0; i < 128; ++i)
    values[i] = 1.0f / float(i + 3);
  for (auto kind : {runtime::TrainedValue::Weight, runtime::TrainedValue::FirstMoment,
                    runtime::TrainedValue::SecondMoment}) {
    values[0] += 1;
    ASSERT_TRUE(run.backend->write(kind, 0, values.data()).isOk());
  }
  TrainState state{123456789012, 99, 7, "a = 1\nb = \"ü\"\n", "data"};
  Result<std::string> name = out->write(state, run.config.model, *run.backend, {}, 3);
  ASSERT_TRUE(name.isOk()) << name.status().message();
  SmallRun other(folder.path());
  Result<TrainState> read = readCheckpoint(*name, *other.backend);
  ASSERT_TRUE(read.isOk()) << read.status().message();
  EXPECT_EQ(read->step, state.step);
  EXPECT_EQ(read->updates, state.updates);
  EXPECT_EQ(read->tokens, state.tokens);
  EXPECT_EQ(read->config, state.config);
  EXPECT_EQ(read->data, state.data);
  for (auto kind : {runtime::TrainedValue::Weight, runtime::TrainedValue::FirstMoment,
                    runtime::TrainedValue::SecondMoment})
    for (size_t i = 0; i < run.backend->parameters().size(); ++i) {
      size_t count = size_t(run.backend->parameters()[i].elements());
      std::vector<float> a(count), b(count);
      ASSERT_TRUE(run.backend->read(kind, i, a.data()).isOk());
      ASSERT_TRUE(other.backend->read(kind, i, b.data()).isOk());
      EXPECT_EQ(a, b);
    }
}

TEST(RunFolder, DamagedAndForeignCheckpoints) {
  TemporaryFolder folder;
  SmallRun run(folder.path());
  ASSERT_TRUE(run(folder / "out").isOk());
  std::string good = folder / "out/checkpoints/step-00000008";
  TemporaryFolder second;
  SmallRun foreign(second.path(), {"model.ffn_hidden_dim = 16"});
  expectError(readCheckpoint(good, *foreign.backend).status(), Code::File,
              {"layers.0.nffn.fc1.weight", "[8, 8]", "[16, 8]"});
  std::string file = good + "/training.safetensors";
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 100);
  expectError(readCheckpoint(good, *run.backend).status(), Code::File, {"training.safetensors"});
  std::filesystem::remove(file);
  expectError(readCheckpoint(good, *run.backend).status(), Code::File, {"training.safetensors"});
}

TEST(RunFolder, DiskFullLeavesTheOldCheckpoint) {
  TemporaryFolder folder;
  SmallRun run(folder.path());
  std::filesystem::create_directory(folder / "disk");
  std::string result = test::onSmallDisk(folder / "disk", "size=56k", [&]() -> Status {
    Result<RunFolder> out = RunFolder::open(folder / "disk");
    if (!out.isOk())
      return out.status();
    TrainState state;
    std::string before;
    for (state.step = 1; state.step < 10; ++state.step) {
      Result<std::string> written = out->write(state, run.config.model, *run.backend, {}, 100);
      if (written.isOk()) {
        before = *written;
        continue;
      }
      // The newest is whole, nothing half stands beside it.
      if (state.step == 1 || out->checkpoints().back() != before)
        return Status(Code::Internal, "lost a checkpoint");
      SmallRun other(folder.path());
      if (Status read = readCheckpoint(before, *other.backend).status(); !read.isOk())
        return read;
      for (auto &entry : std::filesystem::directory_iterator(folder / "disk/checkpoints"))
        if (entry.path().filename().string()[0] == '.')
          return Status(Code::Internal, "left " + entry.path().string());
      return written.status();
    }
    return Status::ok();
  });
  if (result.empty())
    GTEST_SKIP() << "this machine does not allow mounts";
  EXPECT_EQ(result.substr(0, 2), "5 ") << result;
  EXPECT_NE(result.find("No space left"), std::string::npos) << result;
}

TEST(RunFolder, KilledAtAnyMoment) {
  // Runs that are killed at random times and go on come to the same weights as one that ran
  // through.
  TemporaryFolder folder;
  const std::vector<std::string> settings = {"train.steps = 30", "checkpoint.every = 1"};
  {
    SmallRun whole(folder.path(), settings);
    ASSERT_TRUE(whole(folder / "whole").isOk());
  }
  std::mt19937 random(std::random_device{}());
  int kills = 0;
  for (int attempt = 0; attempt < 200; ++attempt) {
    pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      SmallRun part(folder.path(), settings);
      _exit(part(folder / "out").isOk() ? 0 : 1);
    }
    if (attempt < 12) {
      usleep(3000 + random() % 30000);
      kill(child, SIGKILL);
    }
    int status = 0;
    waitpid(child, &status, 0);
    kills += WIFSIGNALED(status);
    if (WIFEXITED(status)) {
      EXPECT_EQ(WEXITSTATUS(status), 0);
      break;
    }
  }
  EXPECT_GT(kills, 0);
  for (const char *file : {"model.safetensors", "training.safetensors"})
    EXPECT_EQ(readText(folder / (std::string("out/checkpoints/step-00000030/") + file)),
              readText(folder / (std::string("whole/checkpoints/step-00000030/") + file)));
  EXPECT_EQ(losses(folder / "out/log.jsonl"), losses(folder / "whole/log.jsonl"));
}
