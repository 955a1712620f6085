// Package storetest gives tests a fresh database of every engine that can be
// reached: sqlite always, MongoDB when MASAR_TEST_MONGODB_URI says where one is.
package storetest

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Variable names the server to test against, such as mongodb://127.0.0.1:27017.
const Variable = "MASAR_TEST_MONGODB_URI"

// Each runs the test on every engine, with the address of an empty database that
// is removed after it.
func Each(t *testing.T, run func(t *testing.T, uri string)) {
	t.Run("sqlite", func(t *testing.T) { run(t, SQLite(t)) })
	t.Run("mongo", func(t *testing.T) { run(t, Mongo(t)) })
}

// SQLite gives the address of a new database file.
func SQLite(t testing.TB) string {
	return "sqlite:" + filepath.Join(t.TempDir(), "store.db")
}

// Mongo gives the address of a new database on the server of Variable, or skips
// the test.
func Mongo(t testing.TB) string {
	server := os.Getenv(Variable)
	if server == "" {
		t.Skip(Variable + " is not set: no MongoDB to test against (tests/servers/with-mongo.sh starts one)")
	}
	u, err := url.Parse(server)
	if err != nil {
		t.Fatalf("%s is not an address: %v", Variable, err)
	}
	name := "masar_test_" + strings.ToLower(ulid.Make().String())
	u.Path = "/" + name
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		client, err := mongo.Connect(options.Client().ApplyURI(server))
		if err != nil {
			t.Errorf("cleaning up: %v", err)
			return
		}
		if err := client.Database(name).Drop(ctx); err != nil {
			t.Errorf("cleaning up: %v", err)
		}
		if err := client.Disconnect(ctx); err != nil {
			t.Errorf("cleaning up: %v", err)
		}
	})
	return u.String()
}
