// Solves a DIMACS .min file with LEMON, for comparison: one algorithm per run,
// so that the peak memory is that algorithm's. Prints one line:
// seconds (without reading), peak megabytes, cost.
#include <lemon/cost_scaling.h>
#include <lemon/network_simplex.h>
#include <lemon/static_graph.h>

#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <utility>
#include <vector>

using Graph = lemon::StaticDigraph;

struct Instance {
  int nodes = 0;
  std::vector<std::pair<int, int>> ends;
  std::vector<long long> supply, lower, upper, cost;
};

static bool read(const char* name, Instance& in) {
  FILE* f = std::fopen(name, "r");
  if (!f) return false;
  char line[256];
  while (std::fgets(line, sizeof line, f)) {
    int u, v;
    long long x, y, z;
    if (std::sscanf(line, "p min %d %lld", &in.nodes, &x) == 2) {
      in.supply.assign(in.nodes, 0);
    } else if (std::sscanf(line, "n %d %lld", &u, &x) == 2) {
      in.supply[u - 1] = x;
    } else if (std::sscanf(line, "a %d %d %lld %lld %lld", &u, &v, &x, &y, &z) == 5) {
      in.ends.emplace_back(u - 1, v - 1);
      in.lower.push_back(x), in.upper.push_back(y), in.cost.push_back(z);
    }
  }
  std::fclose(f);
  return true;
}

// The graph wants its arcs by where they start.
static void sort(Instance& in) {
  std::vector<int> start(in.nodes + 1), order(in.ends.size());
  for (auto& e : in.ends) start[e.first + 1]++;
  for (int v = 0; v < in.nodes; v++) start[v + 1] += start[v];
  for (size_t a = 0; a < in.ends.size(); a++) order[start[in.ends[a].first]++] = a;
  Instance out;
  for (int a : order) {
    out.ends.push_back(in.ends[a]);
    out.lower.push_back(in.lower[a]), out.upper.push_back(in.upper[a]), out.cost.push_back(in.cost[a]);
  }
  in.ends.swap(out.ends), in.lower.swap(out.lower), in.upper.swap(out.upper), in.cost.swap(out.cost);
}

template <class Algorithm>
static int solve(Instance& in) {
  Graph g;
  g.build(in.nodes, in.ends.begin(), in.ends.end());
  Graph::ArcMap<long long> lower(g), upper(g), cost(g);
  for (int a = 0; a < g.arcNum(); a++) {
    lower[g.arc(a)] = in.lower[a], upper[g.arc(a)] = in.upper[a], cost[g.arc(a)] = in.cost[a];
  }
  Graph::NodeMap<long long> supply(g);
  for (int v = 0; v < in.nodes; v++) supply[g.node(v)] = in.supply[v];
  in = Instance();

  auto begin = std::chrono::steady_clock::now();
  Algorithm algorithm(g);
  algorithm.lowerMap(lower).upperMap(upper).costMap(cost).supplyMap(supply);
  auto result = algorithm.run();
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  rusage use;
  getrusage(RUSAGE_SELF, &use);
  if (result != Algorithm::OPTIMAL) {
    std::printf("%.3f %ld %s\n", seconds, use.ru_maxrss / 1024, result == Algorithm::INFEASIBLE ? "infeasible" : "unbounded");
    return 0;
  }
  std::printf("%.3f %ld %lld\n", seconds, use.ru_maxrss / 1024, algorithm.template totalCost<long long>());
  return 0;
}

int main(int argc, char** argv) {
  Instance in;
  if (argc != 3 || !read(argv[2], in)) {
    std::fprintf(stderr, "usage: lemon simplex|scaling FILE.min\n");
    return 2;
  }
  sort(in);
  if (!std::strcmp(argv[1], "simplex")) return solve<lemon::NetworkSimplex<Graph, long long, long long>>(in);
  return solve<lemon::CostScaling<Graph, long long, long long>>(in);
}
