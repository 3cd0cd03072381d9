"""networkx: graphs made of frozen adjacency, attributes that are frozen, and frozen node sets."""

import pytest
from _rounds import rounds

nx = pytest.importorskip("networkx")

# 50 to 500 us a round; each reads at least 9 frozen objects.
graphs = rounds(count=4_000)


@graphs
def test_graph_of_lists(d):
    return sorted(nx.Graph(d.graph).edges), sorted(nx.DiGraph(d.graph).edges)


@graphs
def test_graph_of_dicts(d):
    graph = nx.from_dict_of_dicts(d.weights, create_using=nx.DiGraph)
    return sorted(graph.edges(data="weight")), nx.to_dict_of_dicts(graph)


@graphs
def test_graph_of_edges(d):
    graph = nx.Graph()
    graph.add_edges_from(d.edges)
    graph.add_weighted_edges_from(d.weighted)
    graph.add_nodes_from(d.words, kind=d.latin)
    return sorted(graph.edges(data=True)), dict(graph.nodes(data=True))


@graphs
def test_algorithms(d):
    graph = nx.from_dict_of_dicts(d.weights, create_using=nx.DiGraph)
    return (
        nx.shortest_path(graph, "a", d.graph["c"][0], weight="weight"),
        sorted(map(sorted, nx.strongly_connected_components(graph))),
        list(nx.bfs_edges(graph, d.graph["a"][0])),
    )


@graphs
def test_frozen_attributes(d):
    graph = nx.Graph(d.graph, **d.strings)
    nx.set_node_attributes(graph, d.node_kinds)
    nx.set_edge_attributes(graph, {d.edges[0]: d.config["limits"]})
    return graph.graph, dict(graph.nodes(data=True)), graph.edges["a", "b"]["hard"]


@graphs
def test_frozen_node_sets(d):
    graph = nx.Graph(d.graph)
    return (
        sorted(graph.subgraph(d.graph["a"]).nodes),
        sorted(nx.node_boundary(graph, d.graph["b"])),
        sorted(graph.nbunch_iter(d.vertices)),
        nx.cut_size(graph, d.vertices),
    )


@graphs
def test_relabelling(d):
    return sorted(nx.relabel_nodes(nx.Graph(d.graph), d.relabelled).edges)


@graphs
def test_node_link_data(d):
    graph = nx.Graph(d.graph, config=d.config)
    data = nx.node_link_data(graph, edges="links")
    return nx.node_link_graph(data, edges="links").graph["config"]["limits"], len(data["links"])


@graphs
def test_degree_sequences(d):
    return nx.is_graphical(d.degrees), sorted(nx.havel_hakimi_graph(d.degrees).edges)


@rounds
def test_a_graph_whose_adjacency_is_frozen(d):
    """Reads only, of a graph that was given frozen dicts for its own."""
    graph = nx.Graph()
    graph._adj = d.weights
    graph._node = d.node_kinds
    return (
        graph.number_of_nodes(),
        graph["a"]["b"]["weight"],
        list(graph.neighbors("a")),
        graph.nodes["a"]["kind"],
        "d" in graph,
    )
