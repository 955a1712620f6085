package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"masar.local/cmd/masar/importer"
	"masar.local/pkg/access"
	"masar.local/pkg/api"
)

type importCmd struct {
	Offers     importOffersCmd     `cmd:"" help:"France Travail offers: JSON Lines, a JSON array, or an API answer with resultats."`
	Candidates importCandidatesCmd `cmd:"" help:"A list of candidates: CSV or XLSX, headers in French, Arabic or English."`
}

type importOffersCmd struct {
	target
	File   string `arg:"" help:"File, or - for standard input." placeholder:"FILE.jsonl|FILE.json"`
	DryRun bool   `help:"Check everything, write nothing."`
}

type importCandidatesCmd struct {
	target
	File   string `arg:"" help:"File." placeholder:"FILE.csv|FILE.xlsx"`
	Sheet  string `help:"Sheet of the workbook (default: the first)."`
	DryRun bool   `help:"Check everything, write nothing."`
}
