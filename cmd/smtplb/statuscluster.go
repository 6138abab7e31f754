package main

import (
	"fmt"
	"strings"
)

// clusterView is what the commands read of the agreement with other balancers.
type clusterView struct {
	Balancers int         `json:"balancers"`
	Peers     []peerView  `json:"peers"`
	Limits    []limitView `json:"limits"`
}

type peerView struct {
	Name   string   `json:"name"`
	Reach  string   `json:"reach"`
	Silent *float64 `json:"silent_seconds"`
	Others bool     `json:"alive_for_any"`
}

type limitView struct {
	Name     string `json:"name"`
	Limit    int    `json:"limit"`
	Share    int    `json:"share"`
	Quota    int    `json:"quota"`
	Lent     int    `json:"lent"`
	Borrowed int    `json:"borrowed"`
	Elder    int    `json:"old_processes"`
}

// text is the agreement with other balancers for people.
func (c *clusterView) text(s style) string {
	var b strings.Builder
	near := 0
	peers := table{columns: []column{{head: "PEER"}, {head: "REACH", color: reachColor}, {head: "HEARD"}, {head: "WHY"}}}
	for _, p := range c.Peers {
		if p.Reach == "in reach" {
			near++
		}
		heard := "never"
		if p.Silent != nil {
			heard = lasting(*p.Silent) + " ago"
		}
		peers.add(p.Name, p.Reach, heard, p.why())
	}
	color := plain
	if near < len(c.Peers) {
		color = yellow
	}
	fmt.Fprintf(&b, "cluster: %s\n", s.paint(color, fmt.Sprintf("one of %d balancers, %d of %d peers in reach", c.Balancers, near, len(c.Peers))))
	b.WriteString(peers.text(s))
	if len(c.Limits) == 0 {
		return b.String()
	}
	limits := table{columns: []column{
		{head: "LIMIT OF ALL"}, {head: "MAX SESSIONS", right: true}, {head: "OWN SHARE", right: true}, {head: "LENT", right: true},
		{head: "BORROWED", right: true}, {head: "OLD PROCESSES", right: true}, {head: "IN FORCE HERE", right: true},
	}}
	for _, l := range c.Limits {
		limits.add(l.Name, l.Limit, l.Share, l.Lent, l.Borrowed, l.Elder, l.Quota)
	}
	b.WriteString("\n" + limits.text(s))
	return b.String()
}

// why is what one asks of a peer that is not simply in reach.
func (p *peerView) why() string {
	switch {
	case p.Reach == "in reach":
		return ""
	case p.Reach == "left":
		return "it has ended in order: its share waits for it"
	case p.Others:
		return "others hear it, this one does not: its share stays with it"
	default:
		return "its share stays with it"
	}
}

func reachColor(reach string) string {
	switch reach {
	case "in reach":
		return green
	case "out of reach":
		return red
	default:
		return yellow
	}
}
