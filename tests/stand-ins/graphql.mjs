// A GraphQL server on loopback with automatic persisted queries, as Apollo's has them: it executes documents by graphql-js. Its word is where npm's packages lie.
import { createHash } from "node:crypto";
import { appendFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";

const { buildSchema, graphql } = createRequire(process.argv[2] + "/@apollo/client/package.json")("graphql");

const schema = buildSchema("type Volume { id: ID! name: String! } type Query { volumes: [Volume!]! } type Mutation { volumeRename(id: ID!, name: String!): Volume volumeDelete(id: ID!): Boolean! }");
const volumes = new Map([["v1", "first"], ["v2", "second"]]);
const known = new Map();

const rootValue = {
  volumes: () => [...volumes].map(([id, name]) => ({ id, name })),
  volumeRename: ({ id, name }) => (volumes.set(id, name), { id, name }),
  volumeDelete: ({ id }) => {
    appendFileSync("deleted.log", id + "\n");
    return volumes.delete(id);
  },
};

async function answer(request) {
  const hash = request.extensions?.persistedQuery?.sha256Hash;
  appendFileSync("requests.log", `${request.operationName} ${hash ? "hash" : "-"} ${request.query ? "document" : "-"}\n`);
  if (!request.query) {
    if (!known.has(hash)) return { errors: [{ message: "PersistedQueryNotFound", extensions: { code: "PERSISTED_QUERY_NOT_FOUND" } }] };
  } else if (hash) {
    if (createHash("sha256").update(request.query).digest("hex") !== hash) return { errors: [{ message: "provided sha does not match query" }] };
    known.set(hash, request.query);
  }
  return graphql({ schema, rootValue, source: request.query ?? known.get(hash), variableValues: request.variables, operationName: request.operationName });
}

const server = createServer(async (request, response) => {
  let body = "";
  for await (const piece of request) body += piece;
  const url = new URL(request.url, "http://here");
  const asked = request.method === "GET"
    ? { operationName: url.searchParams.get("operationName"), query: url.searchParams.get("query"), variables: JSON.parse(url.searchParams.get("variables") || "{}"), extensions: JSON.parse(url.searchParams.get("extensions") || "{}") }
    : JSON.parse(body);
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify(await answer(asked)));
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
