// Vercel's AI SDK as its users write it: `node ai_sdk.mjs CLIENT SCENE` prints what the package handed over, as JSON.

import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogle } from "@ai-sdk/google";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, isStepCount, Output, streamText, tool } from "ai";
import { z } from "zod";

const { SPINE_URL: url, SPINE_KEY: apiKey, SPINE_MODEL: id } = process.env;

const models = {
  "openai-compatible": () =>
    createOpenAICompatible({
      name: "spine",
      baseURL: `${url}/v1`,
      apiKey,
      includeUsage: true,
      supportsStructuredOutputs: true,
    })(id),
  openai: () => createOpenAI({ baseURL: `${url}/v1`, apiKey })(id),
  anthropic: () => createAnthropic({ baseURL: `${url}/v1`, apiKey })(id),
  google: () => createGoogle({ baseURL: `${url}/v1beta`, apiKey })(id),
};

const capitals = { France: "Paris", Peru: "Lima" };

const tools = {
  get_capital: tool({
    description: "Look up a country's capital.",
    inputSchema: z.object({ country: z.string() }),
    execute: ({ country }) => capitals[country],
  }),
  get_user_country: tool({
    description: "Where the user is.",
    inputSchema: z.object({}),
    execute: () => "Peru",
  }),
};

const told = async ({ text, finishReason, totalUsage }) => ({
  text: await text,
  finish: await finishReason,
  input: (await totalUsage).inputTokens,
  output: (await totalUsage).outputTokens,
});

const scenes = {
  async text(asked) {
    return told(await generateText({ ...asked, prompt: "What is the capital of France?" }));
  },

  async stream(asked) {
    const answer = streamText({ ...asked, prompt: "What is the capital of France?" });
    const pieces = [];
    for await (const piece of answer.textStream) pieces.push(piece);
    return { ...(await told(answer)), pieces };
  },

  async tools(asked) {
    const answer = streamText({ ...asked, prompt: "Compare capitals.", tools, stopWhen: isStepCount(5) });
    await answer.consumeStream();
    const calls = (await answer.steps).map(({ toolResults }) =>
      toolResults.map(({ toolName, input, output }) => [toolName, input, output]),
    );
    return { ...(await told(answer)), calls };
  },

  async object(asked) {
    const output = Output.object({ schema: z.object({ city: z.string(), country: z.string() }) });
    const answer = await generateText({ ...asked, prompt: "Which city?", output });
    return { ...(await told(answer)), object: answer.output };
  },
};

const [client, scene] = process.argv.slice(2);
const asked = { model: models[client](), instructions: "Answer in one sentence.", maxRetries: 0 };
console.log(JSON.stringify(await scenes[scene](asked)));
