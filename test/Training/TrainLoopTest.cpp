//===- TrainLoopTest.cpp ---------------------------------------------------===//

#include "SmallRun.h"

using namespace otodus;
using namespace otodus::training;
using test::expectError;
using test::readText;
using test::TemporaryFolder;

TEST(TrainLoop, LearnsLogsAndKeepsTheNewestCheckpoints) {
  TemporaryFolder folder;
  SmallRun run(folder.path(), {"train.steps = 40", "optimizer.lr = 0.03"});
  Result<TrainSummary> summary = run(folder / "out");
  ASSERT_TRUE(summary.isOk()) << summary.status().message();
  EXPECT_EQ(summary->state.step, 40);
  EXPECT_EQ(summary->state.updates, 40);
  EXPECT_EQ(summary->state.tokens, 40 * 12);
  EXPECT_LT(summary->lastLoss, 2.7); // log 16 = 2.77
  std::vector<std::string> lines = losses(folder / "out/log.jsonl");
  EXPECT_EQ(lines.size(), 50u); // 40 steps, 10 evaluations
  EXPECT_EQ(lines[0].rfind("{\"step\":1,\"loss\":3.", 0), 0u) << lines[0];
  Result<RunFolder> out = RunFolder::open(folder / "out");
  std::vector<std::string> left = out->checkpoints();
  ASSERT_EQ(left.size(), 2u);
  EXPECT_NE(left[0].find("step-00000039"), std::string::npos);
  EXPECT_NE(left[1].find("step-00000040"), std::string::npos);
  EXPECT_EQ(std::filesystem::read_symlink(folder / "out/latest"), "checkpoints/step-00000040");
  // A checkpoint in the reference layout.
  Result<formats::ModelConfig> model = formats::ModelConfig::load(left[1] + "/config.json");
  ASSERT_TRUE(model.isOk());
  Result<formats::SafetensorsFile> file =
      formats::SafetensorsFile::open(left[1] + "/model.safetensors");
  ASSERT_TRUE(file.isOk());
  EXPECT_TRUE(formats::checkTensors(*model, *file).isOk());
}

/// Masks follow from the seed and the step, so a run goes on with those that it would have had.
static const std::vector<std::string> kDropout = {"model.dropout = 0.2",
                                                  "model.hidden_dropout = 0.3"};

TEST(TrainLoop, StoppedAndResumedIsBitForBitTheSame) {
  TemporaryFolder folder;
  {
    SmallRun whole(folder.path(), kDropout);
    ASSERT_TRUE(whole(folder / "whole").isOk());
  }
  for (int64_t stopAfter = 1; stopAfter < 8; ++stopAfter) {
    std::string out = folder / ("parts" + std::to_string(stopAfter));
    int64_t steps = 0;
    for (int parts = 0; parts < 10; ++parts) {
      SmallRun part(folder.path(), kDropout);
      steps = 0;
      part.hooks.onStep = [&](const StepReport &) { ++steps; };
      part.hooks.interrupted = [&] { return steps >= stopAfter; };
      Result<TrainSummary> summary = part(out);
      if (summary.isOk())
        break;
      ASSERT_EQ(summary.status().code(), Code::Interrupted) << summary.status().message();
    }
    for (const char *file : {"model.safetensors", "training.safetensors"})
      EXPECT_EQ(readText(out + "/checkpoints/step-00000008/" + file),
                readText(folder / (std::string("whole/checkpoints/step-00000008/") + file)))
          << stopAfter << " " << file;
    EXPECT_EQ(losses(out + "/log.jsonl"), losses(folder / "whole/log.jsonl"));
  }
}

TEST(TrainLoop, AfterAKillTheLogHasEveryStepOnce) {
  TemporaryFolder folder;
  SmallRun first(folder.path());
  first.hooks.interrupted = [&, calls = 0]() mutable { return ++calls > 5; };
  expectError(first(folder / "out").status(), Code::Interrupted, {"--resume"});
  // As if it had been killed after more steps: lines beyond the checkpoint, one of them half.
  std::ofstream(folder / "out/log.jsonl", std::ios::app)
      << "{\"step\":7,\"loss\":9}\n{\"step\":8,\"lo";
  std::filesystem::create_directories(folder / "out/checkpoints/.writing-step-00000009");
  SmallRun second(folder.path());
  ASSERT_TRUE(second(folder / "out").isOk());
  SmallRun whole(folder.path());
  ASSERT_TRUE(whole(folder / "whole").isOk());
  EXPECT_EQ(losses(folder / "out/log.jsonl"), losses(folder / "whole/log.jsonl"));
  EXPECT_FALSE(std::filesystem::exists(folder / "out/checkpoints/.writing-step-00000009"));
}

TEST(TrainLoop, AccumulationIsALargerBatch) {
  TemporaryFolder folder;
  auto weights = [&](const std::vector<std::string> &settings, const std::string &name) {
    std::vector<std::string> all = kDropout;
    all.insert(all.end(), settings.begin(), settings.end());
    SmallRun run(folder.path(), all);
    EXPECT_TRUE(run(folder / name).isOk());
    std::vector<float> values(128);
    EXPECT_TRUE(run.backend->read(runtime::TrainedValue::Weight, 0, values.data()).isOk());
    return values;
  };
  std::vector<float> one = weights({"train.batch = 4"}, "one");
  std::vector<float> two = weights({"train.batch = 2", "train.accumulate = 2"}, "two");
  for (size_t i = 0; i < one.size(); ++i)
    EXPECT_NEAR(one[i], two[i], 1e-6);
}

TEST(TrainLoop, NotFinite) {
  TemporaryFolder folder;
  SmallRun stop(folder.path());
  stop.backend->poison("layers.0.mega.wv.weight", 4);
  expectError(stop(folder / "stop").status(), Code::Input,
              {"step 5", "gradient of layers.0.mega.wv.weight", "NaN"});
  // The checkpoint before is good, and the weights were not touched.
  EXPECT_TRUE(std::filesystem::exists(folder / "stop/checkpoints/step-00000003"));

  SmallRun skip(folder.path(), {"train.not_finite = 'skip'"});
  skip.backend->poison("layers.0.mega.wv.weight", 4);
  Result<TrainSummary> summary = skip(folder / "skip");
  ASSERT_TRUE(summary.isOk()) << summary.status().message();
  EXPECT_EQ(summary->state.step, 8);
  EXPECT_EQ(summary->state.updates, 7);
  EXPECT_NE(readText(folder / "skip/log.jsonl")
                .find("\"not_finite\":\"gradient of layers.0.mega.wv.weight\""),
            std::string::npos);
  std::vector<float> values(128);
  ASSERT_TRUE(skip.backend->read(runtime::TrainedValue::Weight, 0, values.data()).isOk());
  for (float value : values)
    EXPECT_TRUE(std::isfinite(value));
}

TEST(TrainLoop, EvaluationIsTheMeanOverAllPositions) {
  TemporaryFolder folder;
  SmallRun run(folder.path());
  // Any number of windows at once gives the same; the last window is shorter.
  Result<EvaluationReport> one = evaluate(*run.backend, run.validation, 8, 1);
  Result<EvaluationReport> many = evaluate(*run.backend, run.validation, 8, 5);
  ASSERT_TRUE(one.isOk() && many.isOk());
  EXPECT_EQ(one->positions, 29);
  EXPECT_EQ(many->positions, 29);
  EXPECT_NEAR(one->loss, many->loss, 1e-12);
  expectError(evaluate(*run.backend, run.validation.slice(0, 1), 8, 1).status(), Code::Input, {"two"});
}

TEST(TrainLoop, Frozen) {
  TemporaryFolder folder;
  SmallRun run(folder.path());
  const auto &parameters = run.backend->parameters();
  Result<std::vector<bool>> frozen =
      frozenParameters(parameters, {"embed.*", "layers.0.mega.w?.weight"});
  ASSERT_TRUE(frozen.isOk());
  for (size_t i = 0; i < parameters.size(); ++i) {
    const std::string &name = parameters[i].name;
    EXPECT_EQ((*frozen)[i], name == "embed.weight" || name == "layers.0.mega.wv.weight" ||
                                name == "layers.0.mega.wz.weight" || name == "layers.0.mega.wr.weight")
        << name;
  }
  expectError(frozenParameters(parameters, {"embed", "*bed*", "x"}).status(), Code::Input,
              {"no parameter matches 'embed', 'x'"});
  expectError(frozenParameters(parameters, {"*"}).status(), Code::Input, {"nothing is left"});
}
